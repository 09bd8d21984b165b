package kernel

func absVec(_ *float32, _ *float32, _ int) bool { return false }
func adamWVec(_ *float32, _ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32, _ float32, _ float32, _ float32, _ float32, _ float32, _ float32) bool {
	return false
}
func addSVec(_ *float32, _ *float32, _ int, _ float32) bool                   { return false }
func addSumVec(_ *float32, _ *float32, _ *float32, _ int) (float32, bool)     { return 0, false }
func addVec(_ *float32, _ *float32, _ *float32, _ int) bool                   { return false }
func axpyVec(_ *float32, _ *float32, _ int, _ float32) bool                   { return false }
func ceilVec(_ *float32, _ *float32, _ int) bool                              { return false }
func clipVec(_ *float32, _ *float32, _ int, _ float32, _ float32) bool        { return false }
func divRVec(_ *float32, _ *float32, _ int, _ float32) bool                   { return false }
func divSVec(_ *float32, _ *float32, _ int, _ float32) bool                   { return false }
func divVec(_ *float32, _ *float32, _ *float32, _ int) bool                   { return false }
func dotVec(_ *float32, _ *float32, _ int) (float32, bool)                    { return 0, false }
func eluVec(_ *float32, _ *float32, _ int, _ float32) bool                    { return false }
func erfVec(_ *float32, _ *float32, _ int) bool                               { return false }
func expStoreSumVec(_ *float32, _ *float32, _ int, _ float32) (float32, bool) { return 0, false }
func expSumVec(_ *float32, _ int, _ float32) (float32, bool)                  { return 0, false }
func expVec(_ *float32, _ *float32, _ int) bool                               { return false }
func floorVec(_ *float32, _ *float32, _ int) bool                             { return false }
func geluErfVec(_ *float32, _ *float32, _ int) bool                           { return false }
func geluTanhVec(_ *float32, _ *float32, _ int) bool                          { return false }
func hardSigmoidVec(_ *float32, _ *float32, _ int, _ float32, _ float32) bool { return false }
func hardSwishVec(_ *float32, _ *float32, _ int) bool                         { return false }
func layerNormGradApplyVec(_ *float32, _ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32, _ float32, _ float32) bool {
	return false
}
func layerNormGradSumsVec(_ *float32, _ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32) (float32, float32, bool) {
	return 0, 0, false
}
func leakyReluVec(_ *float32, _ *float32, _ int, _ float32) bool { return false }
func logVec(_ *float32, _ *float32, _ int) bool                  { return false }
func lstmGradVec(_ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ int) bool {
	return false
}
func lstmVec(_ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ *float32, _ int) bool {
	return false
}
func maxRVec(_ *float32, _ *float32, _ int, _ float32) bool                { return false }
func maxSVec(_ *float32, _ *float32, _ int, _ float32) bool                { return false }
func maxVec(_ *float32, _ *float32, _ *float32, _ int) bool                { return false }
func minRVec(_ *float32, _ *float32, _ int, _ float32) bool                { return false }
func minSVec(_ *float32, _ *float32, _ int, _ float32) bool                { return false }
func minVec(_ *float32, _ *float32, _ *float32, _ int) bool                { return false }
func mulAddVec(_ *float32, _ *float32, _ *float32, _ *float32, _ int) bool { return false }
func mulSVec(_ *float32, _ *float32, _ int, _ float32) bool                { return false }
func mulVec(_ *float32, _ *float32, _ *float32, _ int) bool                { return false }
func negVec(_ *float32, _ *float32, _ int) bool                            { return false }
func normAffine0Vec(_ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32) bool {
	return false
}
func normAffineVec(_ *float32, _ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32) bool {
	return false
}
func normScaleVec(_ *float32, _ *float32, _ *float32, _ int, _ float32) bool { return false }
func recipVec(_ *float32, _ *float32, _ int) bool                            { return false }
func reduceMaxVec(_ *float32, _ int) (float32, bool)                         { return 0, false }
func reduceMinVec(_ *float32, _ int) (float32, bool)                         { return 0, false }
func reluVec(_ *float32, _ *float32, _ int) bool                             { return false }
func roundVec(_ *float32, _ *float32, _ int) bool                            { return false }
func scaleMaskMaxVec(_ *float32, _ *float32, _ *float32, _ int, _ float32) (float32, bool) {
	return 0, false
}
func scaleMaxVec(_ *float32, _ *float32, _ int, _ float32) (float32, bool) { return 0, false }
func sigmoidVec(_ *float32, _ *float32, _ int) bool                        { return false }
func siluVec(_ *float32, _ *float32, _ int) bool                           { return false }
func softmaxGradVec(_ *float32, _ *float32, _ *float32, _ int, _ float32, _ float32) bool {
	return false
}
func softplusVec(_ *float32, _ *float32, _ int) bool              { return false }
func sqrtVec(_ *float32, _ *float32, _ int) bool                  { return false }
func subRVec(_ *float32, _ *float32, _ int, _ float32) bool       { return false }
func subSVec(_ *float32, _ *float32, _ int, _ float32) bool       { return false }
func subVec(_ *float32, _ *float32, _ *float32, _ int) bool       { return false }
func sumSqDiffVec(_ *float32, _ int, _ float32) (float32, bool)   { return 0, false }
func sumVec(_ *float32, _ int) (float32, bool)                    { return 0, false }
func tanhVec(_ *float32, _ *float32, _ int) bool                  { return false }
func f32ToF16Vec(_ *uint16, _ *float32, _ int) bool               { return false }
func f16ToF32Vec(_ *float32, _ *uint16, _ int) bool               { return false }
func f32ToBF16Vec(_ *uint16, _ *float32, _ int) bool              { return false }
func bf16ToF32Vec(_ *float32, _ *uint16, _ int) bool              { return false }
func dequantU8Vec(_ *float32, _ *uint8, _ int, _, _ float32) bool { return false }
func dequantS8Vec(_ *float32, _ *int8, _ int, _, _ float32) bool  { return false }
