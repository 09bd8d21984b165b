package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"time"

	"github.com/wattshed/wattshed/engine"
)

// openModel loads model and data, checks that they fit together, and loads the model on the target: a runtime that
// cannot is found out before any other work.
func (r *run) openModel(ctx context.Context) error {
	r.runtime = r.opt.Runtimes[r.recipe.Target.Runtime]
	if r.runtime == nil {
		return fmt.Errorf("recipe: target.runtime: %q is not in this build", r.recipe.Target.Runtime)
	}
	r.threads = r.recipe.Target.Threads
	if r.threads == 0 {
		r.threads = runtime.NumCPU()
	}
	var err error
	if r.src, err = openModel(r.recipe.Model, r.recipe.Dir, r.opt.Builtin); err != nil {
		return err
	}
	if err := canceled(ctx, "open"); err != nil {
		return err
	}
	if r.bound, err = r.recipe.bind(r.src, r.opt.Builtin); err != nil {
		return withCustom(err, r.src.graph)
	}
	artifact := engine.Artifact{Path: r.src.path}
	if r.src.path == "" {
		artifact.Graph = r.src.graph
	}
	begin := time.Now()
	if r.baseline, err = r.runtime.Load(ctx, artifact, r.options()); err != nil {
		return withCustom(fmt.Errorf("model %q: %w", r.src.name, err), r.src.graph)
	}
	r.loading = time.Since(begin)
	return canceled(ctx, "open")
}

// textDigest is the sha256 of s in hexadecimal.
func textDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
