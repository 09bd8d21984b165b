//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// nobody is a user without rights to other users' folders, by convention.
const nobody = 65534

// cmdDenied: denied REGEXP PROGRAM ARG... runs the program as somebody who may read the script's folder and write nothing in it, wants
// exit code 1 and that what it prints matches. Permissions do not bind root, so for root the program runs as another user.
func cmdDenied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: denied REGEXP PROGRAM ARG...")
	}
	cmd := exec.Command(args[1], args[2:]...)
	work := ts.MkAbs(".")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "HOME="+work)
	ts.Check(os.Chmod(work, 0o555))
	if os.Geteuid() == 0 {
		reach(ts, work, 0o555)
		reach(ts, filepath.Dir(cmd.Path), 0o755)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	ts.Check(os.Chmod(work, 0o755))
	if err == nil || cmd.ProcessState.ExitCode() != exitFailed || !regexp.MustCompile(args[0]).Match(out) {
		ts.Fatalf("%s: %v, want exit code 1 and %s:\n%s", strings.Join(args[1:], " "), err, args[0], out)
	}
}

// reach lets everybody enter dir, and the folders of the test above it.
func reach(ts *testscript.TestScript, dir string, mode os.FileMode) {
	ts.Check(os.Chmod(dir, mode))
	for dir = filepath.Dir(dir); strings.HasPrefix(dir, filepath.Clean(os.TempDir())+string(filepath.Separator)); dir = filepath.Dir(dir) {
		ts.Check(os.Chmod(dir, 0o755))
	}
}
