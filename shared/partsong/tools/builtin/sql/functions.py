"""The functions a query may call, by the names the database knows them by; no other is called."""

from __future__ import annotations

from typing import Literal

__all__ = ["ALLOWED", "Dialect"]

Dialect = Literal["postgres", "sqlite"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOTH = _names(
    """
    abs acos asin atan atan2 avg ceil ceiling coalesce concat concat_ws cos count cume_dist degrees dense_rank exp
    first_value floor lag last_value lead length ln log log10 lower ltrim max min mod nth_value ntile nullif percent_rank
    pi pow power radians rank replace round row_number rtrim sign sin sqrt string_agg substr substring sum tan trim trunc
    upper
    """
)

# Nothing that sleeps, reads files or settings, runs a query given as text, opens connections, takes locks, changes a
# sequence, or makes much out of little (repeat, lpad, zeroblob).
ALLOWED: dict[Dialect, frozenset[str]] = {
    "postgres": _BOTH
    | _names(
        """
        age any_value array_agg array_length array_position array_to_string bit_length bool_and bool_or btrim cardinality cbrt
        char_length character_length corr covar_pop covar_samp date date_bin date_part date_trunc div every generate_series
        greatest initcap json_agg json_array_elements json_array_elements_text json_array_length json_build_array
        json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object_agg
        json_object_keys json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
        jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
        jsonb_object_agg jsonb_object_keys jsonb_typeof justify_days justify_hours least left make_date make_interval
        make_time md5 mode now octet_length percentile_cont percentile_disc position regexp_match regexp_replace
        regr_count regr_intercept regr_r2 regr_slope reverse right split_part starts_with stddev stddev_pop stddev_samp
        strpos to_char to_date to_number to_timestamp translate unnest var_pop var_samp variance width_bucket
        """
    ),
    "sqlite": _BOTH
    | _names(
        """
        -> ->> date datetime format glob group_concat hex ifnull iif instr json json_array json_array_length json_each
        json_extract json_group_array json_group_object json_object json_tree json_type json_valid julianday like likely
        match printf quote regexp strftime time timediff total typeof unicode unixepoch unlikely
        """
    ),
}
