package engine

func convOps() map[string]opDef      { return nil }
func poolOps() map[string]opDef      { return nil }
func normOps() map[string]opDef      { return nil }
func rnnOps() map[string]opDef       { return nil }
func quantOps() map[string]opDef     { return nil }
func controlOps() map[string]opDef   { return nil }
func sequenceOps() map[string]opDef  { return nil }
func createOps() map[string]opDef    { return nil }
func attentionOps() map[string]opDef { return nil }
func resizeOps() map[string]opDef    { return nil }
func miscOps() map[string]opDef      { return nil }
func lossOps() map[string]opDef      { return nil }
func microsoftOps() map[string]opDef { return nil }
func fusedOps() map[string]opDef     { return nil }

func opEinsum(c *Call) error { return nil }
