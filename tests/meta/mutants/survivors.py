"""Implementations that the tester judges wrongly, or that were not scored yet: this list may only get shorter."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "not scored yet": """
        attention_of_jax attention_of_jax_with_lengths jax_causal_ahead jax_finite_mask
        jax_first_head_of_group jax_heads_in_turn jax_mask_for_causal
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
    "no row of the special values has two +∞": """
        first_infinity
    """,
    "no query lies far from all keys at order ∞": """
        no_shift_far_away
    """,
    "no regression has keys of one column": """
        one_column_not_squared
    """,
    "products that cancel are too few, or hidden by the rounding of scores": """
        products_summed_in_half
    """,
    "scores of a regression are too small for their rounding to show": """
        scores_in_half
    """,
    "a gradient loses more than one smallest normal number where a target flushes": """
        softmax_of_jax
    """,
}
"""What the tester lacks -> the names of those that show it."""
KNOWN: Mapping[str, str] = {name: lacks for lacks, names in REASONS.items() for name in names.split()}
"""Name -> what the tester lacks."""
