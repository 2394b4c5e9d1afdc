package tokenizer

import (
	"fmt"
	"sync"
	"unicode/utf8"
)

// bpe is a byte-pair encoding model: a word's characters are merged, the pair
// of lowest rank first (the leftmost of equals), until no pair has a rank.
type bpe struct {
	vocab        map[string]int32
	merges       map[uint64]merge // by pair of ids
	unk          int32            // -1: none
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool // a word that is in the vocabulary is one token
	prefix       string
	suffix       string
	bytes        [256]int32 // ids of <0x00> to <0xFF>; -1: not in the vocabulary

	cache wordCache
}

type merge struct {
	rank int32
	id   int32
}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// newBPE checks the merges against the vocabulary.
func newBPE(vocab map[string]int32, merges [][2]string, m *bpe) (*bpe, error) {
	m.vocab = vocab
	m.merges = make(map[uint64]merge, len(merges))
	for rank, ab := range merges {
		a, ok1 := vocab[ab[0]]
		b, ok2 := vocab[ab[1]]
		right := ab[1]
		if m.prefix != "" && len(right) >= len(m.prefix) {
			right = right[len(m.prefix):]
		}
		id, ok3 := vocab[ab[0]+right]
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("merge %d (%q %q): a part or the result is not in the vocabulary", rank, ab[0], ab[1])
		}
		m.merges[pair(a, b)] = merge{int32(rank), id}
	}
	for b := range m.bytes {
		id, ok := vocab[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			id = -1
		}
		m.bytes[b] = id
	}
	return m, nil
}

// encode appends the ids of one word.
func (m *bpe) encode(dst []int32, word string) []int32 {
	if m.ignoreMerges {
		if id, ok := m.vocab[word]; ok {
			return append(dst, id)
		}
	}
	if ids, ok := m.cache.get(word); ok {
		return append(dst, ids...)
	}
	from := len(dst)
	dst = m.mergeAll(m.symbols(dst, word), from)
	m.cache.put(word, dst[from:])
	return dst
}

// symbols appends the ids of the word's characters.
func (m *bpe) symbols(dst []int32, word string) []int32 {
	lastUnk := false
	for at := 0; at < len(word); {
		_, n := utf8.DecodeRuneInString(word[at:])
		s := word[at : at+n]
		first, last := at == 0, at+n == len(word)
		at += n
		key := s
		if !first && m.prefix != "" {
			key = m.prefix + key
		}
		if last && m.suffix != "" {
			key += m.suffix
		}
		if id, ok := m.vocab[key]; ok {
			dst, lastUnk = append(dst, id), false
			continue
		}
		if m.byteFallback && m.hasBytes(key) {
			for i := range len(key) {
				dst = append(dst, m.bytes[key[i]])
			}
			lastUnk = false
			continue
		}
		if m.unk >= 0 && !(m.fuseUnk && lastUnk) {
			dst, lastUnk = append(dst, m.unk), true
		}
	}
	return dst
}

func (m *bpe) hasBytes(s string) bool {
	for i := range len(s) {
		if m.bytes[s[i]] < 0 {
			return false
		}
	}
	return true
}

// mergeAll merges dst[from:] in place: a linked list of symbols and a heap of
// the pairs that have a rank, O(n log n) in the word's length.
func (m *bpe) mergeAll(dst []int32, from int) []int32 {
	ids := dst[from:]
	n := len(ids)
	if n < 2 {
		return dst
	}
	var small [3 * 32]int32
	links := small[:]
	if 2*n > len(links) {
		links = make([]int32, 2*n)
	}
	prev, next := links[:n], links[n:2*n] // -1: none
	var h pairHeap
	consider := func(i, j int32) {
		if mg, ok := m.merges[pair(ids[i], ids[j])]; ok {
			h.push(candidate{mg.rank, i, mg.id, pair(ids[i], ids[j])})
		}
	}
	for i := range n {
		prev[i], next[i] = int32(i)-1, int32(i)+1
	}
	next[n-1] = -1
	for i := range n - 1 {
		consider(int32(i), int32(i)+1)
	}
	for len(h) > 0 {
		c := h.pop()
		i := c.at
		j := next[i]
		// The pair may have been merged away since it was pushed.
		if ids[i] < 0 || j < 0 || pair(ids[i], ids[j]) != c.pair {
			continue
		}
		ids[i], ids[j] = c.id, -1
		next[i] = next[j]
		if next[i] >= 0 {
			prev[next[i]] = i
			consider(i, next[i])
		}
		if prev[i] >= 0 {
			consider(prev[i], i)
		}
	}
	out := dst[:from]
	for i := int32(0); i >= 0; i = next[i] {
		out = append(out, ids[i])
	}
	return out
}

// candidate is a pair that could be merged; lower rank first, then leftmost.
type candidate struct {
	rank, at, id int32
	pair         uint64
}

func (c candidate) before(o candidate) bool {
	return c.rank < o.rank || c.rank == o.rank && c.at < o.at
}

type pairHeap []candidate

func (h *pairHeap) push(c candidate) {
	*h = append(*h, c)
	s := *h
	for i := len(s) - 1; i > 0; {
		p := (i - 1) / 2
		if !s[i].before(s[p]) {
			return
		}
		s[i], s[p] = s[p], s[i]
		i = p
	}
}

func (h *pairHeap) pop() candidate {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && s[c+1].before(s[c]) {
			c++
		}
		if !s[c].before(s[i]) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return top
}

// wordCache keeps the ids of words that were seen: text repeats its words.
type wordCache struct {
	mu    sync.RWMutex
	words map[string][]int32
}

// Bounds of the cache: words and the bytes of one.
const (
	maxCached     = 1 << 15
	maxCachedWord = 64
)

func (c *wordCache) get(word string) ([]int32, bool) {
	c.mu.RLock()
	ids, ok := c.words[word]
	c.mu.RUnlock()
	return ids, ok
}

func (c *wordCache) put(word string, ids []int32) {
	if len(word) > maxCachedWord {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.words == nil || len(c.words) >= maxCached {
		c.words = map[string][]int32{}
	}
	c.words[string([]byte(word))] = append([]int32(nil), ids...)
}
