// Bytes of a cluster as a damaged disk or a stranger's repository might hold them: the parsers
// must answer with an error or a value, and a value must keep its promises.
#include <cstdlib>
#include <cstring>

#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/page_checksum.h"
#include "chronos/pgdata/wal.h"

namespace {

using namespace chronos;
using namespace chronos::pgdata;

void require(bool holds) {
    if (!holds) std::abort();
}

void parse_bytes(io::Bytes data) {
    const auto control = parse_control_file(data);
    const auto changed = invalidate_checkpoint(std::string(io::text(data)));
    require(static_cast<bool>(changed) || !control);
    if (control)
        require(parse_control_file(io::bytes(*changed))->checkpoint.value == kInvalidCheckpoint);
    const auto header = parse_wal_header(data);
    if (header)
        require(wal_segment_name(1, header->page_address, header->segment_size).size() == 24);
}

void parse_names(std::string_view text) {
    const auto history = parse_timeline_history(text);
    if (history)
        for (const TimelineSwitch& entry : *history) require(entry.parent > 0);
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
    parse_bytes(bytes);
    parse_names(io::text(bytes));
    check_pages(bytes);
    return 0;
}
