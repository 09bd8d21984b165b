package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Markdown writes the report for GitHub: the answer first, then the tables. Its pictures are the
// PNG files of a folder plots/ beside it, as WriteDir lays them out.
func Markdown(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	v := newView(r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", md(v.Title), md(v.Subtitle))
	for _, q := range v.Answers {
		lines := make([]string, len(q.Lines))
		for i, l := range q.Lines {
			lines[i] = md(l)
		}
		fmt.Fprintf(&b, "- **%s.** %s\n", q.Name, strings.Join(lines, " "))
	}
	b.WriteString("\n")
	if len(v.Rows) > 0 {
		mdRow(&b, v.Columns)
		b.WriteString("|" + strings.Repeat("---|", len(v.Columns)) + "\n")
	}
	for _, row := range v.Rows {
		cells := []string{"**" + md(row.Name) + "**"}
		for _, c := range row.Cells {
			s := md(c.Main)
			for _, x := range []string{c.Sub, c.Word} {
				if x != "" {
					s += "<br>" + md(x)
				}
			}
			cells = append(cells, s)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	b.WriteString("\n")
	for _, row := range v.Rows {
		fmt.Fprintf(&b, "- **%s**: %s\n", md(row.Name), md(row.Sentence))
	}
	b.WriteString("\n## Plots\n\n")
	for _, p := range Plots(r) {
		if p.Missing == "" {
			fmt.Fprintf(&b, "![%s](plots/%s.png)\n\n", md(p.Alt), p.Name)
		}
	}
	for _, m := range v.Missing {
		fmt.Fprintf(&b, "- Not drawn: %s\n", md(m))
	}
	for _, s := range v.Sections {
		mdSection(&b, s)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func mdSection(b *bytes.Buffer, s section) {
	fmt.Fprintf(b, "\n## %s\n\n", md(s.Title))
	if s.Intro != "" {
		fmt.Fprintf(b, "%s\n\n", md(s.Intro))
	}
	if s.Collapsed {
		fmt.Fprintf(b, "<details><summary>%d rows</summary>\n\n", len(s.Rows))
	}
	if len(s.Rows) > 0 {
		mdRow(b, s.Head)
		b.WriteString("|" + strings.Repeat("---|", len(s.Head)) + "\n")
		for _, row := range s.Rows {
			mdRow(b, row)
		}
		b.WriteString("\n")
	}
	if s.Collapsed {
		b.WriteString("</details>\n\n")
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "- %s\n", md(n))
	}
}

func mdRow(b *bytes.Buffer, cells []string) {
	b.WriteString("|")
	for _, c := range cells {
		b.WriteString(" " + md(c) + " |")
	}
	b.WriteString("\n")
}

// md escapes text so that Markdown and the HTML in it show it as it is, on one line.
func md(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		switch r {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '\\', '|', '`', '*', '_', '[', ']', '#', '~', '!':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
