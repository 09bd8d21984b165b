package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/internal/pages"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/testdata"
)

// write writes a file of the work folder and the folders above it.
func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o666)
}

// there reports whether data were written before; marker is written last.
func there(marker string) bool {
	_, err := os.Stat(marker)
	return err == nil
}

func writeArrays(path string, arrays map[string]*model.Tensor) error {
	var b bytes.Buffer
	if err := task.WriteNPZ(&b, arrays); err != nil {
		return err
	}
	return write(path, b.Bytes())
}

// spamData writes the built-in model and 64 of its training mails.
func (l *lab) spamData() error {
	b, err := task.Unpack(testdata.FS, "spam/model.onnx.zst")
	if err != nil {
		return err
	}
	if err := write(l.data("spam/fp32.onnx"), b); err != nil {
		return err
	}
	if b, err = task.Unpack(testdata.FS, "spam/train.jsonl.zst"); err != nil {
		return err
	}
	mails, err := task.ReadJSONL(bytes.NewReader(b), "train", "text", "label")
	if err != nil {
		return err
	}
	var out []byte
	for _, m := range mails.Examples[:64] {
		line, err := json.Marshal(map[string]string{"text": m.Text})
		if err != nil {
			return err
		}
		out = append(append(out, line...), '\n')
	}
	return write(l.data("spam/calibration.jsonl"), out)
}

// corpus returns the texts of the Brown corpus.
func (l *lab) corpus() ([]string, error) {
	files, err := filepath.Glob(l.asset("D12/texts/c*"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no texts in %s: %w", l.asset("D12/texts"), errors.Join(err, fs.ErrNotExist))
	}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		out = append(out, string(b))
	}
	return out, nil
}

// pageData renders the test pages (seed 1) and those of calibration (seed 2).
func (l *lab) pageData() error {
	marker := l.data("pages/done")
	if there(marker) {
		return nil
	}
	texts, err := l.corpus()
	if err != nil {
		return err
	}
	for _, set := range []struct {
		n    int
		seed uint64
		dir  string
	}{{testPages, 1, "pages/test"}, {calibrationPages, 2, "pages/calibration"}} {
		list, err := pages.Render(texts, set.n, set.seed)
		if err != nil {
			return err
		}
		for i, p := range list {
			var b bytes.Buffer
			if err := png.Encode(&b, p.Image); err != nil {
				return err
			}
			if err := write(l.data(fmt.Sprintf("%s/%d/%03d.png", set.dir, 90*p.Quarters, i)), b.Bytes()); err != nil {
				return err
			}
		}
	}
	return write(marker, nil)
}

// sentenceData writes a line of every text of the Brown corpus, the first of at least four words to score and the fifth to calibrate.
func (l *lab) sentenceData() error {
	texts, err := l.corpus()
	if err != nil {
		return err
	}
	for name, nth := range map[string]int{"minilm/sentences.txt": 1, "minilm/calibration.txt": 5} {
		var out strings.Builder
		for _, text := range texts {
			seen := 0
			for line := range strings.Lines(text) {
				words := strings.Fields(line)
				if len(words) < 4 {
					continue
				}
				if seen++; seen == nth {
					for i, w := range words {
						words[i] = w[:max(strings.LastIndexByte(w, '/'), 0)]
					}
					fmt.Fprintln(&out, strings.Join(words, " "))
					break
				}
			}
		}
		if err := write(l.data(name), []byte(out.String())); err != nil {
			return err
		}
	}
	return nil
}

// typeOf are the labels of the file-type classifier by extension, for those of the Go distribution that tell it.
var typeOf = map[string]string{".go": "go", ".s": "asm", ".S": "asm", ".c": "c", ".h": "c", ".md": "markdown", ".json": "json", ".png": "png", ".jpeg": "jpeg",
	".sh": "shell", ".bash": "shell", ".html": "html", ".js": "javascript", ".yaml": "yaml", ".css": "css", ".py": "python", ".pl": "perl", ".tar": "tar",
	".zip": "zip", ".pem": "pem", ".bz2": "bzip", ".gif": "gif", ".pdf": "pdf", ".xml": "xml", ".gz": "gzip", ".elf": "elf"}

// Of files of one extension.
const (
	mostFiles       = 200 // Go
	mostOtherFiles  = 60
	calibratedFiles = 64
	leastFileSize   = 200 // bytes
)

// fileData takes files of the Go distribution, the label by the extension, and prepares them as config.min.json says: the first and
// last 1,024 bytes of the first and last 4,096 without white space, padded with 256.
func (l *lab) fileData() error {
	marker := l.data("magika/done")
	if there(marker) {
		return nil
	}
	var config struct {
		Beg    int      `json:"beg_size"`
		End    int      `json:"end_size"`
		Block  int      `json:"block_size"`
		Pad    int32    `json:"padding_token"`
		Labels []string `json:"target_labels_space"`
	}
	b, err := os.ReadFile(l.asset("M16/config.min.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	by := map[string][]string{}
	err = filepath.WalkDir(strings.TrimSpace(string(root)), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		ext := filepath.Ext(path)
		if slices.Contains(config.Labels, typeOf[ext]) {
			if info, err := d.Info(); err == nil && info.Size() >= leastFileSize {
				by[ext] = append(by[ext], path)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	exts := make([]string, 0, len(by))
	for ext := range by {
		exts = append(exts, ext)
	}
	slices.Sort(exts)
	rng := rand.New(rand.NewPCG(1, 16))
	var test, calibration []int32
	var labels []int64
	const space = " \t\n\r\v\f"
	for _, ext := range exts {
		files := by[ext]
		rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		most := mostOtherFiles
		if ext == ".go" {
			most = mostFiles
		}
		spares := min(len(files)/5, calibratedFiles/8) // to calibrate, and not scored
		for i, path := range files[:min(len(files), most+spares)] {
			spare := i < spares
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			x := slices.Repeat([]int32{config.Pad}, config.Beg+config.End)
			head := bytes.TrimLeft(b[:min(len(b), config.Block)], space)
			for k, c := range head[:min(len(head), config.Beg)] {
				x[k] = int32(c)
			}
			tail := bytes.TrimRight(b[max(0, len(b)-config.Block):], space)
			tail = tail[max(0, len(tail)-config.End):]
			for k, c := range tail {
				x[len(x)-len(tail)+k] = int32(c)
			}
			if spare {
				calibration = append(calibration, x...)
				continue
			}
			test = append(test, x...)
			labels = append(labels, int64(slices.Index(config.Labels, typeOf[ext])))
		}
	}
	width := config.Beg + config.End
	calibration = calibration[:min(len(calibration), calibratedFiles*width)]
	if len(labels) < 500 {
		return fmt.Errorf("%d files whose extension tells their type: want 500", len(labels))
	}
	if err := writeArrays(l.data("magika/test.npz"), map[string]*model.Tensor{"bytes": model.FromSlice([]int{len(labels), width}, test), "label": model.FromSlice([]int{len(labels)}, labels)}); err != nil {
		return err
	}
	if err := writeArrays(l.data("magika/calibration.npz"), map[string]*model.Tensor{"bytes": model.FromSlice([]int{len(calibration) / width, width}, calibration)}); err != nil {
		return err
	}
	return write(marker, nil)
}

// Of frames: 16 kHz, 512 new samples after the last 64 before them.
const (
	frameNew     = 512
	frameContext = 64
	rate         = 16000
)

// speechData makes the frames of the voice detector: recordings of LibriVox to score, each clean, in noise at 10 dB and at 0 dB, with
// two seconds of faint noise between; other recordings (cards) to calibrate.
func (l *lab) speechData() error {
	marker := l.data("silero/done")
	if there(marker) {
		return nil
	}
	rng := rand.New(rand.NewPCG(1, 12))
	for name, set := range map[string]struct {
		glob string
		snr  []float64
	}{"silero/test.npz": {"D16/wav/librivox/*.wav", []float64{math.Inf(1), 10, 0}}, "silero/calibration.npz": {"D16/wav/cards/*.wav", []float64{math.Inf(1)}}} {
		files, err := filepath.Glob(l.asset(set.glob))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no recordings in %s: %w", l.asset(set.glob), errors.Join(err, fs.ErrNotExist))
		}
		var sound []float32
		for _, snr := range set.snr {
			for _, f := range files {
				x, err := readWAV(f)
				if err != nil {
					return fmt.Errorf("%s: %w", f, err)
				}
				power := 0.0
				for _, v := range x {
					power += float64(v) * float64(v) / float64(len(x))
				}
				level := math.Sqrt(power * math.Pow(10, -snr/10))
				for _, v := range x {
					sound = append(sound, v+float32(level*rng.NormFloat64()))
				}
				for range 2 * rate {
					sound = append(sound, float32(1e-3*rng.NormFloat64()))
				}
			}
		}
		n := (len(sound) - frameContext) / frameNew
		var frames []float32
		for i := range n {
			frames = append(frames, sound[i*frameNew:i*frameNew+frameContext+frameNew]...)
		}
		if err := writeArrays(l.data(name), map[string]*model.Tensor{"input": model.FromSlice([]int{n, frameContext + frameNew}, frames)}); err != nil {
			return err
		}
	}
	return write(marker, nil)
}

// readWAV reads 16-bit PCM, one channel at 16 kHz, as values from -1 to 1.
func readWAV(path string) ([]float32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, errors.New("no WAVE file")
	}
	known := false
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		chunk := b[:min(size, len(b))]
		switch {
		case id == "fmt " && len(chunk) >= 16:
			le := binary.LittleEndian
			known = le.Uint16(chunk) == 1 && le.Uint16(chunk[2:]) == 1 && le.Uint32(chunk[4:]) == rate && le.Uint16(chunk[14:]) == 16
		case id == "data" && known:
			x := make([]float32, len(chunk)/2)
			for i := range x {
				x[i] = float32(int16(binary.LittleEndian.Uint16(chunk[2*i:]))) / 32768
			}
			return x, nil
		}
		b = b[min(len(b), size+size%2):]
	}
	return nil, errors.New("want 16-bit PCM, one channel, 16 kHz")
}
