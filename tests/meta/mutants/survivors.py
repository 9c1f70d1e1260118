"""Implementations that the tester judges wrongly, or that were not scored yet: this list may only get shorter."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "a gradient loses more than one smallest normal number where a target flushes": "softmax_of_jax",
    "the model of error allows κ in units of the narrow format": """
        all_in_half alpha_above_bfloat16 alpha_above_e4m3 alpha_above_e5m2
        alpha_below_float16 alpha_of_four_fifths biased_softmax cooled_attention_bfloat16
        cooled_e4m3 cooled_e5m2 denominator_in_half exponentials_in_half
        few_bisections_in_half flushed_e4m3 gaps_in_half half_of_scores_in_half
        key_gradient_too_long_in_half leaning_entmax15 narrow_tail narrower_in_half
        products_in_float8 products_summed_in_half renormalized_after_rounding rounded_twice_e4m3
        scale_of_twice_the_width scores_in_half small_values_without_effect small_weights_left_out
        sparsemax_below_bfloat16 sparsemax_below_e4m3 tempered_attention_bfloat16 tempered_attention_float16
        tempered_bfloat16 tempered_bfloat16_more tempered_e4m3 tempered_e5m2
        tempered_float16 truncated_softmax truncated_sparsemax values_in_float8
        values_summed_in_half values_summed_key_by_key weights_cut_to_three_bits weights_in_float8
        weights_summed_in_half
    """,
    "the allowance of gradients in half precision is in units of the narrow format": """
        alpha_from_float8 backward_sums_in_half hotter_gradient_float16
    """,
    "not scored yet": """
        attention_of_jax attention_of_jax_with_lengths attention_to_the_nearest backward_from_stored_weights
        bottom_right_after_all compensated_sum derivative_in_alpha entmax15_by_sorting
        entmax15_by_way_of_single entmax_of_alpha_in_half exp_of_log_softmax first_infinity
        first_rows_only gaussian_weights grade_of_fewer_digits gradient_by_hand
        infinity_is_nan jax_causal_ahead jax_finite_mask jax_first_head_of_group
        jax_heads_in_turn jax_mask_for_causal kept_by_first_score
        last_bits_differ masked_values_times_zero mean_of_hidden_values mirrored_when_falling
        one_call_late powers_of_two products_for_differences softmax_by_way_of_single
        softmax_of_bandwidth softmax_of_beta softmax_of_detached_maximum softmax_that_flushes
        sparsemax_by_elimination sparsemax_by_way_of_double sum_from_the_smallest sums_in_any_order
        ten_largest ties_counted_once tokens_before_heads tokens_for_heads
        topk_with_ties_from_the_end
    """,
    "pairs: no case has both levels": """
        bias_dropped_if_causal bias_scaled bias_twice_if_causal columns_beyond_a_block
        columns_in_eights cut_at_half_range cut_before_scale default_scale_of_twins
        diagonal_at_length gradient_in_memory_order gradient_of_both gradient_of_first_batch
        gradient_of_first_columns gradient_of_first_queries gradient_of_hidden_block gradient_of_neighbour
        halves_weigh_the_same heads_in_turn_for_inner_one heads_in_turn_for_wide_values heads_in_turn_in_nested_batches
        key_norm_of_first larger_scale_in_half last_block_of_groups last_column_of_long_rows
        last_column_without_gradient later_blocks_weigh_more least_width_of_two length_after_mask
        lengths_for_causal lengths_for_mask lengths_in_blocks lengths_in_wrong_order
        lengths_of_queries long_sums_short_in_half mask_of_first_block mask_of_first_entry
        mask_rows_from_the_top memory_order_if_causal memory_order_of_groups memory_order_of_inner_one
        memory_order_of_masks memory_order_when_decoding nan_from_hidden_block not_itself
        one_key_left one_key_left_of_causal one_query_sees_one_key overflow_before_scale
        scale_of_padded_width scale_of_values scaled_twice_if_lengths square_of_one_block
        symmetric_if_causal symmetric_scores top_left_for_more_queries wide_values_cut
    """,
    "rows with a tied k-th key are undecided as a whole: kept keys are not counted": """
        fewer_than_k_at_a_tie more_than_k_at_a_tie more_than_k_uniform
    """,
    "no query lies far from all keys at order ∞": """
        no_shift_far_away
    """,
    "no regression has keys of one column": """
        one_column_not_squared
    """,
}
"""What the tester lacks -> the names of those that show it."""
KNOWN: Mapping[str, str] = {name: lacks for lacks, names in REASONS.items() for name in names.split()}
"""Name -> what the tester lacks."""
