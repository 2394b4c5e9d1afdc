// The one translation unit.
#include "grouse.cuh"

#include "elementwise.cu"
#include "norm.cu"
#include "rows.cu"
#include "experts.cu"
#include "attention.cu"
#include "attention_mma.cu"
#include "attention_grad.cu"
#include "attention_grad_mma.cu"
#include "select.cu"
#include "indexloss.cu"
#include "logprob.cu"
