package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// article is a news text with the index of its topic.
type article struct {
	text  string
	topic int
}

// articles returns the BBC news in an order by a seed, topics mixed.
func (l *lab) articles() (all []article, topics int, err error) {
	folders, err := filepath.Glob(l.asset("D2/bbcnews/*"))
	if err != nil {
		return nil, 0, err
	}
	for topic, dir := range folders {
		files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
		if err != nil {
			return nil, 0, err
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, 0, err
			}
			runes := make([]rune, len(b)) // Latin-1
			for i, c := range b {
				runes[i] = rune(c)
			}
			all = append(all, article{string(runes), topic})
		}
	}
	rng := rand.New(rand.NewPCG(1, 2225))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if len(all) < topicTrain+topicTest {
		return nil, 0, fmt.Errorf("%d articles in %s: want %d", len(all), l.asset("D2/bbcnews"), topicTrain+topicTest)
	}
	return all, len(folders), nil
}

// topics returns which test articles a logistic head on the embeddings puts right. The head is trained once, on the float model's
// embeddings of other articles: it stays when the encoder is compressed.
func (l *lab) topics(ctx context.Context, runtime, path, float, tokenizer string) ([]float64, error) {
	all, topics, err := l.articles()
	if err != nil {
		return nil, err
	}
	var head [][]float64
	file := l.data(fmt.Sprintf("minilm/head-%d-%d.json", topicTrain, maxTopicTokens))
	if b, err := os.ReadFile(file); err != nil || json.Unmarshal(b, &head) != nil {
		x, err := l.embed(ctx, "native", float, tokenizer, all[:topicTrain])
		if err != nil {
			return nil, err
		}
		head = trainHead(x, all[:topicTrain], topics)
		b, err := json.Marshal(head)
		if err != nil {
			return nil, err
		}
		if err := write(file, b); err != nil {
			return nil, err
		}
	}
	test := all[topicTrain : topicTrain+topicTest]
	x, err := l.embed(ctx, runtime, path, tokenizer, test)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(test))
	for i, a := range test {
		p := probabilities(head, x[i])
		best := 0
		for k := range p {
			if p[k] > p[best] {
				best = k
			}
		}
		if best == a.topic {
			out[i] = 1
		}
	}
	return out, nil
}

func (l *lab) embed(ctx context.Context, runtime, path, tokenizer string, list []article) ([][]float64, error) {
	e, err := l.encoder(ctx, runtime, path, tokenizer, maxTopicTokens)
	if err != nil {
		return nil, err
	}
	defer e.Session.Close()
	var texts []string
	for _, a := range list {
		texts = append(texts, a.text)
	}
	return e.EmbedAll(ctx, texts)
}

// trainHead fits a multinomial logistic regression by gradient descent with momentum: the mean cross-entropy plus 1e-3/2 of the
// squared weights. The last weight of a class is its bias.
func trainHead(x [][]float64, list []article, classes int) [][]float64 {
	width := len(x[0]) + 1
	w, speed := make([][]float64, classes), make([][]float64, classes)
	for k := range w {
		w[k], speed[k] = make([]float64, width), make([]float64, width)
	}
	const steps, rate, momentum, l2 = 1500, 1.0, 0.9, 1e-3
	for range steps {
		g := make([][]float64, classes)
		for k := range g {
			g[k] = make([]float64, width)
		}
		for i, v := range x {
			p := probabilities(w, v)
			p[list[i].topic]--
			for k := range p {
				d := p[k] / float64(len(x))
				for j, f := range v {
					g[k][j] += d * f
				}
				g[k][width-1] += d
			}
		}
		for k := range w {
			for j := range w[k] {
				if j < width-1 {
					g[k][j] += l2 * w[k][j]
				}
				speed[k][j] = momentum*speed[k][j] - rate*g[k][j]
				w[k][j] += speed[k][j]
			}
		}
	}
	return w
}

func probabilities(w [][]float64, x []float64) []float64 {
	p := make([]float64, len(w))
	most := math.Inf(-1)
	for k, row := range w {
		p[k] = row[len(row)-1]
		for j, f := range x {
			p[k] += row[j] * f
		}
		most = max(most, p[k])
	}
	sum := 0.0
	for k := range p {
		p[k] = math.Exp(p[k] - most)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p
}
