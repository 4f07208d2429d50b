#include "sync_summary.h"

#include <stdio.h>

#include "json.h"
#include "quantity.h"

/* Adds `before`, the number with its thousands separated, `after`. */
static void add_count(struct text *text, const char *before, uint64_t number, const char *after)
{
    char count[QUANTITY_TEXT_BYTES];
    text_add_format(text, "%s%s%s", before, count_format(number, count), after);
}

void sync_summary_write(struct text *text, const struct sync_summary *summary)
{
    const struct everdue_sync_result *counts = &summary->counts;
    const char *verb = summary->is_dry_run ? "would sync " : "synced ";
    char span[QUANTITY_TEXT_BYTES];
    add_count(text, verb, summary->records, summary->records == 1 ? " record in " : " records in ");
    text_add_format(text, "%s: ", span_format(summary->took_us, span));
    add_count(text, "+", counts->created, " new, ");
    add_count(text, "~", counts->changed, " changed, ");
    add_count(text, "=", counts->unchanged, " unchanged, ");
    add_count(text, "", summary->rejected, " rejected, ");
    add_count(text, "", counts->absent, " not in the file");
    if (counts->absent > 0 && summary->is_prune)
        text_add_string(text, summary->is_dry_run ? " (to be removed)" : " (removed)");
    else if (counts->absent > 0)
        text_add_string(text, " (kept; --prune removes)");
    if (counts->kept > 0)
        add_count(text, ", ", counts->kept, " put or removed meanwhile (left as they are)");
    if (summary->is_dry_run)
        text_add_string(text, "; nothing was changed");
}

void sync_summary_write_json(struct text *text, const struct sync_summary *summary)
{
    const struct everdue_sync_result *counts = &summary->counts;
    text_add(text, "{", 1);
    json_add_number(text, "records", (long long)summary->records);
    json_add_number(text, "created", (long long)counts->created);
    json_add_number(text, "changed", (long long)counts->changed);
    json_add_number(text, "unchanged", (long long)counts->unchanged);
    json_add_number(text, "rejected", (long long)summary->rejected);
    json_add_number(text, "absent", (long long)counts->absent);
    json_add_number(text, "pruned", (long long)counts->pruned);
    json_add_number(text, "kept", (long long)counts->kept);
    json_add_number(text, "due_now", (long long)counts->due_now);
    json_add_true_or_false(text, "dry_run", summary->is_dry_run);
    json_add_name(text, "seconds");
    text_add_format(text, "%.3f", (double)summary->took_us / 1e6);
    text_add(text, "}", 1);
}
