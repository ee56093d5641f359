#include "chronos/pgdata/wal.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdio>

#include "chronos/base/text.h"
#include "pgdata/little_endian.h"
#include "pgdata/versions.h"
#include "pgdata/wal_format.h"
#include "pgdata/wal_segment_size.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kPartSize = 8;  ///< hexadecimal digits of timeline, log and segment
constexpr std::string_view kPartialSuffix = ".partial";
constexpr std::string_view kHistorySuffix = ".history";
constexpr std::string_view kBackupSuffix = ".backup";

/// A segment's name and its three numbers.
struct SegmentNumber {
    Timeline timeline = 0;
    std::uint32_t log = 0;
    std::uint32_t segment = 0;
};

std::uint32_t parse_part(std::string_view name, std::size_t part) {
    std::uint32_t value = 0;
    const char* first = name.data() + part * kPartSize;
    std::from_chars(first, first + kPartSize, value, 16);
    return value;
}

SegmentNumber parse_segment(std::string_view name) {
    return {parse_part(name, 0), parse_part(name, 1), parse_part(name, 2)};
}

std::string format_segment(SegmentNumber number) {
    std::array<char, kWalSegmentNameSize + 1> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%08X%08X%08X", number.timeline, number.log,
                  number.segment);
    return buffer.data();
}

void advance(SegmentNumber& number, std::uint32_t segment_size) {
    if (number.segment < UINT32_MAX / segment_size) {
        ++number.segment;
    } else {
        number.segment = 0;
        ++number.log;
    }
}

bool is_upper_hex(std::string_view text, std::size_t size) {
    return text.size() == size && is_hex_upper(text);
}

Result<const Version*> version_of_magic(std::uint16_t magic) {
    const auto found = std::ranges::find(versions(), magic, &Version::wal_magic);
    if (found == versions().end())
        return Error(ErrorKind::version_not_supported,
                     "unexpected WAL magic " + std::to_string(magic))
            .with_hint(magic > versions().back().wal_magic
                           ? "It is later than that of PostgreSQL " +
                                 std::string(versions().back().name) +
                                 ", the newest that this chronos knows: newer ones need a newer "
                                 "chronos."
                           : "No release of PostgreSQL that this chronos knows writes such WAL.");
    return &*found;
}

Result<TimelineSwitch> parse_history_line(std::string_view line) {
    const auto bad = [&] {
        return Error(ErrorKind::format,
                     "invalid line in timeline history: '" + printable(line) + "'");
    };
    const std::size_t gap = line.find_first_of(" \t");
    if (gap == std::string_view::npos) return bad();
    const std::string_view rest = trim(line.substr(gap));
    const auto parent = parse_uint(line.substr(0, gap));
    const auto lsn = Lsn::parse(rest.substr(0, rest.find_first_of(" \t")));
    if (!parent || *parent == 0 || *parent > UINT32_MAX || !lsn) return bad();
    return TimelineSwitch{static_cast<Timeline>(*parent), *lsn};
}

Result<> check_segment(std::string_view name) {
    if (is_wal_segment(name)) return {};
    return Error(ErrorKind::format, "'" + printable(name) + "' is not the name of a WAL segment");
}

}  // namespace

Result<> check_wal_segment_size(std::uint32_t size_bytes) {
    if (std::has_single_bit(size_bytes) && size_bytes >= (1u << 20) && size_bytes <= (1u << 30))
        return {};
    return Error(ErrorKind::format,
                 "wal segment size is " + std::to_string(size_bytes) +
                     " but must be a power of two between 1048576 and 1073741824 inclusive");
}

Result<WalHeader> parse_wal_header(io::Bytes content) {
    if (content.size() < wal_page::kLongHeaderSize)
        return Error(ErrorKind::format,
                     "WAL file has only " + std::to_string(content.size()) + " bytes");
    if (!wal_page::has_long_header(content, 0))
        return Error(ErrorKind::format,
                     "first page header in WAL file is expected to be in long format");
    const Version* version =
        CHRONOS_TRY(version_of_magic(load<std::uint16_t>(content, wal_page::kMagicAt)));
    WalHeader header;
    header.version = version->name;
    header.system_id = load<std::uint64_t>(content, wal_page::kSystemIdAt);
    header.segment_size = load<std::uint32_t>(content, wal_page::kSegmentSizeAt);
    header.timeline = load<std::uint32_t>(content, wal_page::kTimelineAt);
    header.page_address = Lsn{load<std::uint64_t>(content, wal_page::kAddressAt)};
    CHRONOS_TRY(check_wal_segment_size(header.segment_size));
    return header;
}

std::string wal_segment_name(Timeline timeline, Lsn lsn, std::uint32_t segment_size) {
    return format_segment({timeline, static_cast<std::uint32_t>(lsn.value >> 32),
                           static_cast<std::uint32_t>(lsn.value) / segment_size});
}

std::string wal_segment_name_before(Timeline timeline, Lsn lsn, std::uint32_t segment_size) {
    return wal_segment_name(timeline, Lsn{lsn.value == 0 ? 0 : lsn.value - 1}, segment_size);
}

std::string next_wal_segment(std::string_view segment, std::uint32_t segment_size) {
    SegmentNumber number = parse_segment(segment);
    advance(number, segment_size);
    return format_segment(number);
}

Timeline timeline_of_segment(std::string_view segment) {
    return parse_part(segment, 0);
}

std::uint64_t wal_segment_number(std::string_view segment, std::uint32_t segment_size) {
    const SegmentNumber number = parse_segment(segment);
    return number.log * ((std::uint64_t{1} << 32) / segment_size) + number.segment;
}

Lsn wal_segment_start(std::string_view segment, std::uint32_t segment_size) {
    return Lsn{wal_segment_number(segment, segment_size) * segment_size};
}

std::vector<TimelineSwitch> effective_switches(std::vector<TimelineSwitch> switches) {
    for (std::size_t i = switches.size(); i-- > 1;)
        switches[i - 1].switch_lsn = std::min(switches[i - 1].switch_lsn, switches[i].switch_lsn);
    return switches;
}

std::string timeline_history_name(Timeline timeline) {
    std::array<char, kPartSize + 1> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%08X", timeline);
    return std::string(buffer.data()) + std::string(kHistorySuffix);
}

Result<> check_wal_segment(const WalHeader& header, std::string_view name, std::uint64_t size_bytes,
                           std::optional<std::uint64_t> begins) {
    if (size_bytes != header.segment_size)
        return Error(ErrorKind::archive_mismatch,
                     "content has " + std::to_string(size_bytes) + " bytes instead of the " +
                         std::to_string(header.segment_size) + " of a segment");
    const Timeline timeline = timeline_of_segment(name);
    // PostgreSQL takes a segment from another position for the end of the log, and one of another
    // timeline too.
    const std::string own = wal_segment_name(timeline, header.page_address, header.segment_size);
    if (!name.starts_with(own) || header.page_address.value % header.segment_size != 0)
        return Error(
            ErrorKind::archive_mismatch,
            "content is that of segment " +
                wal_segment_name(header.timeline, header.page_address, header.segment_size));
    if (header.timeline > timeline)
        return Error(ErrorKind::archive_mismatch,
                     "content is of timeline " + std::to_string(header.timeline));
    if (header.timeline < timeline && begins &&
        *begins != wal_segment_number(name, header.segment_size))
        return Error(ErrorKind::archive_mismatch,
                     "content is of timeline " + std::to_string(header.timeline) +
                         ", and it is not the segment with which timeline " +
                         std::to_string(timeline) + " begins");
    return {};
}

Result<std::vector<std::string>> wal_segment_range(std::string_view first, std::string_view last,
                                                   std::uint32_t segment_size,
                                                   std::size_t count_max) {
    CHRONOS_TRY(check_segment(first));
    CHRONOS_TRY(check_segment(last));
    CHRONOS_TRY(check_wal_segment_size(segment_size));
    const auto range = [&] {
        return "'" + std::string(first) + "' to '" + std::string(last) + "'";
    };
    if (timeline_of_segment(first) != timeline_of_segment(last))
        return Error(ErrorKind::format, "WAL range " + range() + " spans timelines");
    if (parse_segment(last).segment > UINT32_MAX / segment_size)
        return Error(ErrorKind::format, "'" + std::string(last) + "' is no segment of " +
                                            std::to_string(segment_size) + " bytes");
    if (last < first) return Error(ErrorKind::format, "WAL range " + range() + " runs backwards");

    std::vector<std::string> segments;
    SegmentNumber number = parse_segment(first);
    for (std::string name(first); name <= last; name = format_segment(number)) {
        if (segments.size() == count_max)
            return Error(ErrorKind::format, "WAL range " + range() + " has more than " +
                                                std::to_string(count_max) + " segments");
        segments.push_back(std::move(name));
        advance(number, segment_size);
        if (segments.back() == last) break;  // the very last segment of all wraps around
    }
    return segments;
}

bool is_wal_segment(std::string_view name) {
    return is_upper_hex(name, kWalSegmentNameSize);
}

bool is_wal_partial(std::string_view name) {
    return name.ends_with(kPartialSuffix) &&
           is_wal_segment(name.substr(0, name.size() - kPartialSuffix.size()));
}

bool is_backup_history(std::string_view name) {
    return name.size() == kWalSegmentNameSize + 1 + kPartSize + kBackupSuffix.size() &&
           is_wal_segment(name.substr(0, kWalSegmentNameSize)) &&
           name[kWalSegmentNameSize] == '.' &&
           is_upper_hex(name.substr(kWalSegmentNameSize + 1, kPartSize), kPartSize) &&
           name.ends_with(kBackupSuffix);
}

bool is_timeline_history(std::string_view name) {
    return name.ends_with(kHistorySuffix) &&
           is_upper_hex(name.substr(0, name.size() - kHistorySuffix.size()), kPartSize);
}

Result<std::vector<TimelineSwitch>> parse_timeline_history(std::string_view text) {
    std::vector<TimelineSwitch> switches;
    for (const std::string_view raw : split(text, '\n')) {
        const std::string_view line = trim(raw);
        if (line.empty() || line.front() == '#') continue;
        const TimelineSwitch entry = CHRONOS_TRY(parse_history_line(line));
        if (!switches.empty() && entry.parent <= switches.back().parent)
            return Error(ErrorKind::format,
                         "timelines in the history do not ascend: " + std::to_string(entry.parent) +
                             " behind " + std::to_string(switches.back().parent));
        switches.push_back(entry);
    }
    return switches;
}

}  // namespace chronos::pgdata
