package reports

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteDir writes r into dir, which must exist: one file for each named format (for none, those that
// a run leaves: json, csv, md, html) and, when md or html is among them, plots/*.png and plots/*.svg. Everything is rendered before the
// first file is written, and canceling ctx until then leaves dir as it was. Each file is written under a temporary name and renamed.
// It gives the paths written, in order, and the plots that were not drawn, each with the reason.
func WriteDir(ctx context.Context, dir string, r *Result, formats ...string) (paths, missing []string, err error) {
	if len(formats) == 0 {
		formats = []string{"json", "csv", "md", "html"}
	}
	type file struct {
		path  string
		bytes []byte
	}
	var files []file
	render := func(path string, f func(w io.Writer) error) error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reports: %w", err)
		}
		var b bytes.Buffer
		if err := f(&b); err != nil {
			return err
		}
		files = append(files, file{path, b.Bytes()})
		return nil
	}
	plots := false
	for _, name := range formats {
		f, err := FormatByName(name)
		if err != nil {
			return nil, nil, err
		}
		plots = plots || name == "md" || name == "html"
		if err := render(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Export(w, r) }); err != nil {
			return nil, nil, err
		}
	}
	if plots {
		for _, p := range Plots(r) {
			if p.Missing != "" {
				missing = append(missing, p.Name+": "+p.Missing)
				continue
			}
			base := filepath.Join(dir, "plots", p.Name)
			if err := errors.Join(render(base+".svg", p.SVG), render(base+".png", p.PNG)); err != nil {
				return nil, missing, err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, missing, fmt.Errorf("reports: %w", err)
	}
	if plots {
		if err := os.MkdirAll(filepath.Join(dir, "plots"), 0o777); err != nil {
			return nil, missing, fmt.Errorf("reports: %w", err)
		}
	}
	for _, f := range files {
		if err := writeFile(f.path, f.bytes); err != nil {
			return paths, missing, err
		}
		paths = append(paths, f.path)
	}
	return paths, missing, nil
}

// writeFile replaces path by a file with these bytes, or leaves it as it was.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".wattshed-*")
	if err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	_, err = f.Write(b)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("reports: %w", err)
	}
	return nil
}
