package config

// Abouts returns the descriptions of keys.yaml.
func Abouts() []string {
	var all []string
	for _, block := range keyTable() {
		for _, k := range block {
			all = append(all, k.About)
		}
	}
	return all
}
