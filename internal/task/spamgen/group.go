package main

import (
	"encoding/binary"
	"hash/fnv"
	"strings"
	"unicode"
)

const (
	// similar is the Jaccard index of two sets of shingles from which two texts count as near-duplicates.
	similar = 0.8
	// shingle is the number of consecutive words in one shingle.
	shingle = 3
	// bands and rows shape the MinHash signature: a pair at the threshold shares at least one band with probability
	// 1-(1-0.8^4)^32 > 0.9999999.
	bands = 32
	rows  = 4
)

// groups returns, for each text, the index of the first text of its group. Two texts are joined when they are equal
// after dropping digits, space and punctuation, or when their sets of shingles have a Jaccard index of at least
// similar; groups are the transitive closure. Candidates come from MinHash with banding (Broder 1997; Leskovec,
// Rajaraman and Ullman, Mining of Massive Datasets, chapter 3) and every candidate pair is checked on the full sets.
func groups(texts []string) []int {
	parent := make([]int, len(texts))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = find(a), find(b)
		parent[max(a, b)] = min(a, b)
	}
	equal := map[string]int{}
	buckets := map[string][]int{}
	sets := make([]map[uint64]bool, len(texts))
	for i, text := range texts {
		key := skeleton(text)
		if j, ok := equal[key]; ok {
			join(i, j)
		} else {
			equal[key] = i
		}
		sets[i] = shingles(text)
		for _, band := range signature(sets[i]) {
			for _, j := range buckets[band] {
				if find(i) != find(j) && jaccard(sets[i], sets[j]) >= similar {
					join(i, j)
				}
			}
			buckets[band] = append(buckets[band], i)
		}
	}
	out := make([]int, len(texts))
	for i := range out {
		out[i] = find(i)
	}
	return out
}

// skeleton is the text in lower case without digits, number tokens, space and punctuation.
func skeleton(text string) string {
	text = strings.ReplaceAll(text, "<num>", "")
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// shingles hashes every run of shingle words (lower case, digits and punctuation dropped); a text of fewer words is
// one shingle.
func shingles(text string) map[uint64]bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
	set := make(map[uint64]bool, len(words))
	for i := 0; i == 0 || i+shingle <= len(words); i++ {
		h := fnv.New64a()
		for _, w := range words[i:min(i+shingle, len(words))] {
			h.Write([]byte(w))
			h.Write([]byte{0})
		}
		set[h.Sum64()] = true
	}
	return set
}

// signature returns one key per band of the MinHash signature of a set.
func signature(set map[uint64]bool) [bands]string {
	var low [bands * rows]uint64
	for i := range low {
		low[i] = ^uint64(0)
	}
	for h := range set {
		for i := range low {
			if v := mix(h + uint64(i+1)*0x9e3779b97f4a7c15); v < low[i] {
				low[i] = v
			}
		}
	}
	var out [bands]string
	for b := range out {
		key := []byte{byte(b)}
		for _, v := range low[b*rows : (b+1)*rows] {
			key = binary.LittleEndian.AppendUint64(key, v)
		}
		out[b] = string(key)
	}
	return out
}

// mix is the finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection that spreads every input bit.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// jaccard is |a and b| / |a or b|.
func jaccard(a, b map[uint64]bool) float64 {
	if len(a) > len(b) {
		a, b = b, a
	}
	both := 0
	for h := range a {
		if b[h] {
			both++
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}
