package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// The commands that make sources readable. HwmonFix, JetsonFix and BatteryFix last until the next boot; NVMLFix brings the driver's
// library into a container; RedfishFix and PrometheusFix name a source that is asked only then.
const (
	HwmonFix      = "sudo chmod a+r /sys/class/hwmon/hwmon*/*_input /sys/class/hwmon/hwmon*/*_average"
	JetsonFix     = "sudo chmod a+r /sys/class/hwmon/hwmon*/in*_input /sys/class/hwmon/hwmon*/curr*_input"
	JetsonIIOFix  = "sudo chmod a+r /sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input"
	JetsonModule  = "sudo modprobe ina3221"
	BatteryFix    = "sudo chmod a+r /sys/class/power_supply/BAT*/power_now /sys/class/power_supply/BAT*/current_now /sys/class/power_supply/BAT*/voltage_now /sys/class/power_supply/BAT*/status"
	NVMLFix       = "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE"
	IPMIModuleFix = "sudo modprobe -a ipmi_si ipmi_devintf"
	RedfishFix    = "WATTSHED_REDFISH_USER=USER WATTSHED_REDFISH_PASSWORD=PASSWORD wattshed measure MODEL --meter redfish:https://HOST"
	PrometheusFix = "wattshed measure MODEL --meter prometheus:http://HOST:9400/metrics"
)

// ofPermission reports whether err is one of permission, which a command can mend, and not one of the device.
func ofPermission(err error) bool {
	if errors.Is(err, fs.ErrPermission) {
		return true
	}
	s := err.Error()
	return errors.Is(err, ErrPermission) && !strings.Contains(s, "EIO") && !strings.Contains(s, "ENODEV") && !strings.Contains(s, "ENOENT") && !strings.Contains(s, string(errGarbage))
}

// nvidiaStatus tells whether an NVIDIA driver is loaded and its boards answer, and where there is none, whether a board waits for it.
func nvidiaStatus(root, sys fs.FS, h HostFacts, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "nvml", Kind: Measured, Period: nvmlPeriod, Resolution: 1000, Headline: true}
	v, err := readLimited(root, "proc/driver/nvidia/version", 64<<10)
	if err != nil {
		boards, seen := nvidiaBoards(sys)
		switch {
		case len(boards) > 0:
			s.Present, s.Scopes = true, boards
			s.Why, s.Fix = "an NVIDIA board is on the PCI bus ("+strings.Join(boards, ", ")+"), its driver is not loaded", driverFix(root)
		case seen:
			s.Why = "no NVIDIA board is on the PCI bus, so no driver could help"
		default:
			s.Why = "no NVIDIA driver is loaded, and no PCI bus is shown to look for a board"
		}
		return s
	}
	s.Present = true
	m, err := openNVIDIA("", o)
	if n, ok := m.(*NVIDIA); ok {
		for _, b := range n.boards {
			s.Scopes = append(s.Scopes, b.domain.Zone+" ("+b.domain.Name+")")
		}
	}
	if s.judge(m, err, ""); !s.Readable {
		if s.Fix = driverFix(root); h.Container {
			s.Fix = NVMLFix
		}
	}
	line, _, _ := strings.Cut(string(v), "\n")
	s.Why += "; driver " + strings.TrimSpace(line)
	return s
}

// nvidiaBoards lists the display controllers of vendor 10de on the PCI bus; seen is false where there is no bus to look at.
func nvidiaBoards(sys fs.FS) (boards []string, seen bool) {
	const bus = "bus/pci/devices"
	entries, err := fs.ReadDir(sys, bus)
	if err != nil {
		return nil, false
	}
	for _, e := range entries[:min(len(entries), 4096)] {
		vendor, err := readAttribute(sys, path.Join(bus, e.Name(), "vendor"))
		if err != nil || vendor != "0x10de" {
			continue
		}
		if class, err := readAttribute(sys, path.Join(bus, e.Name(), "class")); err == nil && strings.HasPrefix(class, "0x03") {
			boards = append(boards, e.Name())
		}
	}
	return boards, true
}

// driverFix is the command that installs NVIDIA's driver with its library on this distribution; where that is not known it loads a driver
// that is installed.
func driverFix(root fs.FS) string {
	text, _ := readLimited(root, "etc/os-release", 64<<10)
	var ids []string
	for line := range bytes.Lines(text) {
		key, val, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		if key == "ID" || key == "ID_LIKE" {
			ids = append(ids, strings.Fields(strings.Trim(val, `"'`))...)
		}
	}
	for _, d := range []struct{ id, fix string }{
		{"ubuntu", "sudo apt-get install -y ubuntu-drivers-common && sudo ubuntu-drivers install && sudo modprobe nvidia"},
		{"debian", "sudo apt-get install -y nvidia-driver && sudo modprobe nvidia"}, // of the section non-free
		{"fedora", "sudo dnf install -y akmod-nvidia xorg-x11-drv-nvidia-cuda && sudo modprobe nvidia"},
		{"rhel", "sudo dnf module install -y nvidia-driver:latest-dkms && sudo modprobe nvidia"},
		{"suse", "sudo zypper install -y nvidia-open-driver-G06-signed-kmp-default nvidia-compute-utils-G06 && sudo modprobe nvidia"},
		{"arch", "sudo pacman -S --noconfirm nvidia-open nvidia-utils && sudo modprobe nvidia"},
	} {
		if slices.Contains(ids, d.id) {
			return d.fix
		}
	}
	return "sudo modprobe nvidia"
}

// jetsonStatus lists the power monitors of a Jetson.
func jetsonStatus(root, sys fs.FS, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "jetson", Kind: Measured, Period: nvmlPeriod, Resolution: 500, Headline: true, Why: "this is no Jetson"} // 1 mA at 5 V for 100 ms
	m, err := NewJetson(sys, SensorOptions{Now: o.Now})
	if err != nil {
		if board, rerr := readLimited(root, "proc/device-tree/model", maxAttribute); rerr == nil && bytes.Contains(board, []byte("Jetson")) {
			s.Present, s.Fix = true, JetsonModule
			s.Why = fmt.Sprintf("%s: %v", bytes.Trim(board, "\x00 \n"), err)
		}
		return s
	}
	s.Present = true
	for _, x := range m.list {
		s.Scopes = append(s.Scopes, x.domain.Zone)
	}
	fix := JetsonFix
	if _, err := fs.Stat(sys, "bus/i2c/drivers/ina3221x"); err == nil {
		fix = JetsonIIOFix
	}
	_, err = headlineReads(m)
	s.judge(m, err, fix)
	return s
}

// CrossChecked fills in Cross of every source: what the comparisons of CrossCheckHost found, or why nothing is compared with it.
func CrossChecked(list []SourceStatus, checks []CrossCheck) {
	for i := range list {
		s := &list[i]
		var said []string
		for _, c := range checks {
			for _, side := range [][2]string{{c.A, c.B}, {c.B, c.A}} {
				if word, _, _ := strings.Cut(side[0], " "); word != s.Name {
					continue
				}
				if c.Agree {
					said = append(said, fmt.Sprintf("%s: agrees with %s within %.1f %%", c.Scope, side[1], 100*c.Difference))
				} else {
					said = append(said, fmt.Sprintf("%s: CONTRADICTS %s by %.1f %%", c.Scope, side[1], 100*c.Difference))
				}
				break
			}
		}
		switch {
		case len(said) > 0:
			s.Cross = strings.Join(said, "; ")
		case s.Kind == Modelled:
			s.Cross = "none: a model is not compared with itself"
		case !s.Readable:
			s.Cross = "none: not readable"
		default:
			s.Cross = "none: nothing else reads the same here"
		}
	}
}
