package reports

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteDir writes r into dir, which must exist: one file for each named format (for none, those that
// a run leaves: json, csv, md, html) and, when md or html is among them, plots/*.png and plots/*.svg. Each file is written under a
// temporary name and renamed. It gives the paths written, in order, and the plots that were not
// drawn, each with the reason.
func WriteDir(dir string, r *Result, formats ...string) (paths, missing []string, err error) {
	var todo []Format
	if len(formats) == 0 {
		formats = []string{"json", "csv", "md", "html"}
	}
	plots := false
	for _, name := range formats {
		f, err := FormatByName(name)
		if err != nil {
			return nil, nil, err
		}
		todo = append(todo, f)
		plots = plots || name == "md" || name == "html"
	}
	write := func(path string, f func(w io.Writer) error) error {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			return err
		}
		if err := writeFile(path, b.Bytes()); err != nil {
			return err
		}
		paths = append(paths, path)
		return nil
	}
	for _, f := range todo {
		if err := write(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Export(w, r) }); err != nil {
			return paths, missing, err
		}
	}
	if !plots {
		return paths, missing, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "plots"), 0o777); err != nil {
		return paths, missing, fmt.Errorf("reports: %w", err)
	}
	for _, p := range Plots(r) {
		if p.Missing != "" {
			missing = append(missing, p.Name+": "+p.Missing)
			continue
		}
		base := filepath.Join(dir, "plots", p.Name)
		if err := write(base+".svg", p.SVG); err != nil {
			return paths, missing, err
		}
		if err := write(base+".png", p.PNG); err != nil {
			return paths, missing, err
		}
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
