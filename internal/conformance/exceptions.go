package conformance

import "strings"

// Why operator tests are not passed.
const (
	// rounds: the expected numbers were computed in half precision step by step (differences, exponentials and even the
	// sum of a softmax), which loses up to a hundredth; this runtime computes such operators in float32 and rounds once.
	// TestExceptions shows that its results are nearer to the exact ones than those that are expected.
	rounds = "expects the rounding of every step to half precision"
	// noise: 0 is expected to be 1.9e-7, the error of a transform in float32.
	noise = "expects the noise of a transform in float32"
	// images: decoders of image files have no place in a runtime for tensors.
	images = "decodes image files"
)

// exceptions lists the tests that are not passed, with the reason.
func exceptions() map[string]string {
	list := map[string]string{"test_dft_inverse": noise, "test_dft_inverse_opset19": noise, "test_attention_4d_causal_fp16_expanded": rounds}
	for _, s := range strings.Fields("3d_causal 4d_attn_mask_causal 4d_causal 4d_causal_padded_kv 4d_padded_kv") {
		list["test_attention_"+s+"_bf16"] = rounds
		list["test_attention_"+s+"_bf16_expanded"] = rounds
	}
	for _, s := range strings.Fields("bmp_rgb jpeg2k_rgb jpeg_bgr jpeg_grayscale jpeg_rgb png_rgb pnm_rgb tiff_rgb webp_rgb") {
		list["test_image_decoder_decode_"+s] = images
	}
	return list
}
