package main

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
)

// bindAll puts the input in place on all contenders, if all of them can have it there: none makes outputs anew in a call while another writes to
// memory that is there.
func bindAll(cs []*contender, feed engine.Feed) error {
	for _, c := range cs {
		if _, ok := c.session.(engine.Binder); !ok {
			return nil
		}
	}
	for _, c := range cs {
		var err error
		if c.bound, err = c.session.(engine.Binder).Bind(feed); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}
