// A kernel for the tests of the tool chain: one parameter of each size.
extern "C" __global__ void axpy(float *y, const float *x, float a, long long n, int b) {
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) y[i] = a * x[i] + y[i] + (float)b;
}
