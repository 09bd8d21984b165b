package kernel

import "sync"

// runAside computes the product of one row on several threads, of which each makes the digits for itself: on a Zen 4 two make 4096 in less time than
// it takes one of them to fetch what the other has made from its cache, and to write there again what the other still has. It reports false where
// one thread makes them for all.
func (g *nbitsJob) runAside(p *Pool) bool {
	threads := g.threads(p)
	if g.m > 1 || threads == 1 || !g.isa.hasVNNI512() || g.b.K >= g.forkPieces() {
		return false
	}
	g.threadsOf = threads
	for len(g.aside) < threads {
		g.aside = append(g.aside, newNBitsJob())
	}
	np := panels(g.b.N)
	each := rowPanels(np, g.b.blocks()*g.b.blockBytes(), threads)
	g.tasks = ceilDiv(np, each)
	for k, s := range g.aside[:threads] {
		s.m, s.a, s.lda, s.b, s.c, s.ldc, s.ep, s.isa, s.parts = 1, g.a, g.lda, g.b, g.c, g.ldc, g.ep, g.isa, g.parts
		s.rows, s.rowTasks, s.panels, s.once, s.ready = 1, 1, each, sync.Once{}, false
		first := ceilDiv(k*g.tasks, threads) * each // see Pool.Run
		s.aim(min(first, np), min(first+each, np))
	}
	p.Run(g.tasks, g.asideTask)
	for _, s := range g.aside[:threads] {
		s.forget()
	}
	return true
}

// doAside computes task t with the digits of the thread whose share it is in (see Pool.Run).
func (g *nbitsJob) doAside(t int) {
	s := g.aside[t*g.threadsOf/g.tasks]
	s.once.Do(func() {
		s.prepare(nil)
		s.ready = true
	})
	if s.ready { // else it panicked in another thread, with what Run panics with
		s.doTask(t)
	}
}
