package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OpenOptions are the injected parts of Open and Sources. The zero value is usable.
type OpenOptions struct {
	Perf    PerfOpener                    // default OpenPerf
	Now     func() time.Duration          // default Boottime
	CPUTime func() (time.Duration, error) // default ProcessCPU; for the model
	NVML    func() (NVML, error)          // default LoadNVML
	IPMI    Fetcher                       // default IPMITool
	HTTP    *http.Client                  // for redfish and prometheus; default: one with a time limit
	// RedfishUser and RedfishPassword sign in to a management controller; they come from the user only.
	RedfishUser, RedfishPassword string
	// Context ends the background polls of external meters; default: none does but Close.
	Context context.Context
	// Infer is how long NVIDIA's counters are watched for their update period; default 1.2 s, negative: not at all.
	Infer time.Duration
}

// ErrNoSource is wrapped where a name is not one of an energy source.
var ErrNoSource = errors.New("no such energy source")

// opener opens one source. arg is what follows the colon of its name.
type opener func(root, sys fs.FS, h HostFacts, arg string, o OpenOptions) (Meter, error)

// source is one energy source that Open knows.
type source struct {
	name, form string
	open       opener
}

// openers are the sources by name, in the order in which they are listed.
var openers = []source{
	{"perf", "perf", func(_, sys fs.FS, h HostFacts, _ string, o OpenOptions) (Meter, error) { return openPerf(sys, h, o) }},
	{"powercap", "powercap", func(_, sys fs.FS, h HostFacts, _ string, o OpenOptions) (Meter, error) {
		return openPowercap(sys, h, o)
	}},
	{"nvml", "nvml[:0,GPU-UUID]", func(_, _ fs.FS, _ HostFacts, arg string, o OpenOptions) (Meter, error) { return openNVIDIA(arg, o) }},
	{"hwmon", "hwmon", func(_, sys fs.FS, _ HostFacts, _ string, o OpenOptions) (Meter, error) {
		m, err := NewHwmon(sys, SensorOptions{Now: o.Now})
		return checked(m, err)
	}},
	{"jetson", "jetson", func(_, sys fs.FS, _ HostFacts, _ string, o OpenOptions) (Meter, error) {
		m, err := NewJetson(sys, SensorOptions{Now: o.Now})
		return checked(m, err)
	}},
	{"battery", "battery", func(_, sys fs.FS, _ HostFacts, _ string, o OpenOptions) (Meter, error) {
		m, err := NewBattery(sys, SensorOptions{Now: o.Now})
		return checked(m, err)
	}},
	{"powermetrics", "powermetrics", func(_, _ fs.FS, _ HostFacts, _ string, o OpenOptions) (Meter, error) { return openPowermetrics(o) }},
	{"ipmi", "ipmi", func(_, _ fs.FS, _ HostFacts, _ string, o OpenOptions) (Meter, error) {
		fetch := o.IPMI
		if fetch == nil {
			fetch = IPMITool
		}
		return NewIPMI(fetch, ExternalOptions{Now: o.Now}).begin(o.context())
	}},
	{"redfish", "redfish:https://HOST", func(_, _ fs.FS, _ HostFacts, arg string, o OpenOptions) (Meter, error) {
		m, err := NewRedfish(arg, RedfishOptions{ExternalOptions: ExternalOptions{Now: o.Now}, Client: o.HTTP, User: o.RedfishUser, Password: o.RedfishPassword})
		if err != nil {
			return nil, err
		}
		return m.begin(o.context())
	}},
	{"prometheus", "prometheus:URL[#METRIC]", func(_, _ fs.FS, _ HostFacts, arg string, o OpenOptions) (Meter, error) {
		m, err := NewPrometheus(arg, PromOptions{ExternalOptions: ExternalOptions{Now: o.Now}, Client: o.HTTP})
		if err != nil {
			return nil, err
		}
		return m.begin(o.context())
	}},
	{"model", "model[:cgroup|PID]", func(root, _ fs.FS, h HostFacts, arg string, o OpenOptions) (Meter, error) {
		return openModelOf(root, h, arg, o)
	}},
}

func (o OpenOptions) context() context.Context {
	if o.Context == nil {
		return context.Background()
	}
	return o.Context
}

// SourceNames lists what Open takes, for messages.
func SourceNames() string {
	names := []string{"auto"}
	for _, x := range openers {
		names = append(names, x.form)
	}
	return strings.Join(names, ", ")
}

// Open returns the best meter below root, the root of the file system (os.DirFS("/")): perf events, then
// powercap, then the model. name picks one source, or several joined with a plus sign ("powercap+nvml:0", see Join and
// SourceNames); "" or "auto" the best of perf, powercap and model that reads (boards are joined only when they are asked for);
// the model then says which counter was there and could not be read. A named source that cannot be read is an error, never
// another source. Close it where it is an io.Closer.
func Open(root fs.FS, name string, o OpenOptions) (Meter, error) {
	h := ReadHost(root)
	sys, err := fs.Sub(root, "sys")
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	if name == "" || name == "auto" {
		return openAuto(sys, h, o)
	}
	var list []Meter
	for part := range strings.SplitSeq(name, "+") {
		m, err := openOne(root, sys, h, part, o)
		if err != nil {
			if c, ok := Join(list...).(io.Closer); ok {
				err = errors.Join(err, c.Close())
			}
			return nil, err
		}
		list = append(list, m)
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return Join(list...), nil
}

// openOne opens one source by name.
func openOne(root, sys fs.FS, h HostFacts, name string, o OpenOptions) (Meter, error) {
	word, arg, _ := strings.Cut(name, ":")
	i := slices.IndexFunc(openers, func(x source) bool { return x.name == word })
	if i < 0 {
		return nil, fmt.Errorf("measure: %w: %q; there are %s", ErrNoSource, name, SourceNames())
	}
	if arg != "" && !strings.Contains(openers[i].form, ":") {
		return nil, fmt.Errorf("measure: %w: %q: %s takes no %q", ErrNoSource, name, word, arg)
	}
	return openers[i].open(root, sys, h, arg, o)
}

// openAuto opens the best counter of the CPU, else the model.
func openAuto(sys fs.FS, h HostFacts, o OpenOptions) (Meter, error) {
	m, perr := openPerf(sys, h, o)
	if perr == nil {
		return m, nil
	}
	m, cerr := openPowercap(sys, h, o)
	if cerr == nil {
		return m, nil
	}
	return openModel(h, o, errors.Join(perr, cerr))
}

// checked takes the first reading of a meter that could be made.
func checked[M Meter](m M, err error) (Meter, error) {
	if err != nil {
		return nil, err
	}
	return headlineReads(m)
}

// openPerf opens the perf meter and makes sure that its headline reads.
func openPerf(sys fs.FS, h HostFacts, o OpenOptions) (Meter, error) {
	tdp, _ := TDP(h.CPU)
	m, err := NewPerf(sys, PerfOptions{Now: o.Now, Open: o.Perf, TDP: tdp, AMD: h.Vendor == "AuthenticAMD", VM: h.Virtualized, SGX: h.SGX})
	if err != nil {
		return nil, err
	}
	return headlineReads(m)
}

// openPowercap opens the powercap meter and makes sure that its headline reads.
func openPowercap(sys fs.FS, h HostFacts, o OpenOptions) (Meter, error) {
	tdp, _ := TDP(h.CPU)
	m, err := NewPowercap(sys, PowercapOptions{Now: o.Now, TDP: tdp, AMD: h.Vendor == "AuthenticAMD", VM: h.Virtualized, SGX: h.SGX})
	if err != nil {
		return nil, err
	}
	return headlineReads(m)
}

// openModel opens the model. Where why holds a permission error, a counter exists and its figures say so.
func openModel(h HostFacts, o OpenOptions, why error) (Meter, error) {
	pm, err := ModelOf(h)
	if err != nil {
		return nil, err
	}
	if errors.Is(why, ErrPermission) {
		pm.Assumption += "; a counter exists but is not readable (" + strings.ReplaceAll(why.Error(), "\n", "; ") + ")"
	}
	return NewModel(pm, ModelOptions{Now: o.Now, CPUTime: o.CPUTime}), nil
}

// openModelOf opens the model on the CPU time of this process (""), of all of its control group ("cgroup"), or of another process with
// its children (a number).
func openModelOf(root fs.FS, h HostFacts, arg string, o OpenOptions) (Meter, error) {
	whose := ""
	switch pid, err := strconv.ParseUint(arg, 10, 31); {
	case arg == "":
	case arg == "cgroup":
		whose, o.CPUTime = "CPU time of all processes of the control group", func() (time.Duration, error) { return CgroupCPUTime(root) }
	case err == nil:
		whose, o.CPUTime = "CPU time of process "+arg+" and of its children that ended", func() (time.Duration, error) {
			b, err := readLimited(root, "proc/"+strconv.FormatUint(pid, 10)+"/stat", maxAttribute)
			if err != nil {
				return 0, err
			}
			return ParseProcStat(b)
		}
	default:
		return nil, fmt.Errorf("measure: %w: %q: want model, model:cgroup or model:PID", ErrNoSource, "model:"+arg)
	}
	m, err := openModel(h, o, nil)
	if err != nil {
		return nil, err
	}
	if x, ok := m.(*Model); ok && whose != "" {
		x.model.Assumption += "; " + whose
		x.full = x.model
	}
	return headlineReads(m)
}

// headlineReads takes the first reading: every headline domain must answer, or the total would be a part.
func headlineReads(m Meter) (Meter, error) {
	r, err := m.Read()
	n := 0
	for _, d := range r.Domains {
		if !d.Domain.Headline {
			continue
		}
		n++
		if len(d.Errors) > 0 && err == nil {
			err = fmt.Errorf("%w: domain %s (%s): %s", ErrPermission, d.Domain.Zone, d.Domain.Name, strings.Join(d.Errors, ", "))
		}
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: no package among the domains", ErrNoCounter)
	}
	if err != nil {
		if c, ok := m.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return m, nil
}

// inferDefault is how long NVIDIA's counters are watched: they move every 20 to 100 ms.
const inferDefault = 1200 * time.Millisecond

// openNVIDIA opens the boards that arg lists ("0,2", "GPU-5b4e07f6"), or all.
func openNVIDIA(arg string, o OpenOptions) (Meter, error) {
	n := NVIDIAOptions{Now: o.Now, Infer: o.Infer}
	if o.Infer == 0 {
		n.Infer = inferDefault
	}
	for part := range strings.SplitSeq(arg, ",") {
		if arg == "" {
			break
		}
		if i, err := strconv.Atoi(part); err == nil {
			n.Devices = append(n.Devices, i)
		} else {
			n.UUIDs = append(n.UUIDs, part)
		}
	}
	load := o.NVML
	if load == nil {
		load = LoadNVML
	}
	lib, err := load()
	if err != nil {
		return nil, err
	}
	m, err := NewNVIDIA(lib, n)
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	return headlineReads(m)
}
