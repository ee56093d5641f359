// Bytes of a cluster as a damaged disk or a stranger's repository might hold them: the parsers
// must answer with an error or a value, and a value must keep its promises.
#include <cstring>

#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/page_checksum.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/pgdata/timeline_history.h"
#include "chronos/pgdata/wal.h"
#include "fuzz.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"
#include "pgdata/versions.h"

namespace {

using namespace chronos;
using namespace chronos::pgdata;

/// A control file with the right checksum, so that a fuzzer gets past it.
std::string resealed(std::string_view input) {
    constexpr std::size_t kControlVersionAt = 8;
    constexpr std::size_t kCatalogVersionAt = 12;
    std::string content(input);
    if (content.size() < 512) return content;
    const Version* version =
        find_version(load<std::uint32_t>(io::bytes(content), kControlVersionAt),
                     load<std::uint32_t>(io::bytes(content), kCatalogVersionAt));
    if (version == nullptr) return content;
    const std::uint32_t crc = crc32c(io::bytes(content).first(version->control.crc));
    store(std::as_writable_bytes(std::span(content)), version->control.crc, crc);
    return content;
}

void parse_control(io::Bytes data) {
    const auto control = parse_control_file(data);
    const auto changed = invalidate_checkpoint(std::string(io::text(data)));
    require(static_cast<bool>(changed) || !control);
    parameters_in_control_file(data);
    next_xid_in_control_file(data);
    if (!control) return;
    require(control->major() > 0 && control->current_timeline() >= control->timeline);
    require(parse_control_file(io::bytes(*changed))->checkpoint.value == kInvalidCheckpoint);
    wal_segment_name(control->current_timeline(), control->checkpoint, control->wal_segment_size);
}

void parse_history(std::string_view text) {
    const auto history = parse_timeline_history(text);
    if (!history) return;
    Timeline before = 0;
    for (const TimelineSwitch& entry : *history) {
        require(entry.parent > before);
        before = entry.parent;
    }
    // Each timeline is left where it was reached, or later.
    Lsn reached;
    for (const TimelineSwitch& entry : effective_switches(*history)) {
        require(entry.switch_lsn >= reached);
        reached = entry.switch_lsn;
    }
    require(before == UINT32_MAX || history->empty() || parse_history_of(before + 1, text));
}

void parse_names(std::string_view text) {
    require(!has_page_checksums(text) || in_database_directory(text));
    first_block_of(text, 8192);
    require(is_wal_segment(text) + is_wal_partial(text) + is_backup_history(text) +
                is_timeline_history(text) <=
            1);
    if (text.size() < 48) return;
    const auto range = wal_segment_range(text.substr(0, 24), text.substr(24, 24), 1u << 24, 1000);
    if (range)
        require(range->front() == text.substr(0, 24) && range->back() == text.substr(24, 24));
}

/// The first byte chooses where the content is cut: the verdict must not depend on it.
void check_pages(io::Bytes data) {
    if (data.empty()) return;
    const std::size_t chunk = std::to_integer<std::size_t>(data.front()) * 7 + 1;
    const auto check = [&](std::size_t size) {
        io::NullSink end;
        PageCheckSink sink({.page_size = 1024}, {}, end);
        for (std::size_t at = 0; at < data.size(); at += size)
            require(
                static_cast<bool>(sink.write(data.subspan(at, std::min(size, data.size() - at)))));
        require(static_cast<bool>(sink.finish()));
        return sink.result();
    };
    const PageCheckResult whole = check(data.size());
    const PageCheckResult parts = check(chunk);
    require(whole.misaligned == parts.misaligned && whole.error_ranges == parts.error_ranges);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const io::Bytes bytes = std::as_bytes(std::span(data, size));
    parse_control(bytes);
    parse_control(io::bytes(resealed(io::text(bytes))));
    parse_history(io::text(bytes));
    parse_names(io::text(bytes));
    check_pages(bytes);
    return 0;
}
