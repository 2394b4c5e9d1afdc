package language

// Consistency returns the share of words in the target language, from 0 to 1:
// R_lang of DeepSeek-R1 (arXiv:2501.12948, eq. 7). No words give 0.
func Consistency(target, total int) float64 {
	if total == 0 {
		return 0
	}
	return float64(target) / float64(total)
}
