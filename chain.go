package grouse

import (
	"crypto/sha256"
	"encoding/hex"
)

// ChainStart returns H_0 of a run: the SHA-256, hex, of what the first weights
// were made from (initial weights' digest and recipe's digest, both hex).
func ChainStart(weightsSHA256, recipeSHA256 string) string {
	sum := sha256.Sum256([]byte("grouse/chain/1|" + weightsSHA256 + "|" + recipeSHA256))
	return hex.EncodeToString(sum[:])
}

// Chain returns H_t = SHA256(H_{t-1} || batch digest || statistics), hex: the
// name of the weights that training on the batch makes of H_{t-1}'s. Two runs
// with equal H_t did the same steps with the same statistics, bit for bit.
//
// prev and batchSHA256 are hex; stats are the step's statistics without times,
// rates and memory. An H that is not 32 bytes of hex is an Internal error.
func Chain(prev, batchSHA256 string, stats Metrics) (string, error) {
	p, err := hex.DecodeString(prev)
	if err != nil || len(p) != sha256.Size {
		return "", Errorf(Internal, "chain: previous hash %q is not a SHA-256", prev)
	}
	b, err := hex.DecodeString(batchSHA256)
	if err != nil || len(b) != sha256.Size {
		return "", Errorf(Internal, "chain: batch digest %q is not a SHA-256", batchSHA256)
	}
	sum := sha256.Sum256(stats.AppendBits(append(p, b...)))
	return hex.EncodeToString(sum[:]), nil
}
