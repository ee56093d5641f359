#include "pgdata/wal_format.h"

#include <algorithm>

#include "chronos/base/clock.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"

namespace chronos::pgdata {

bool wal_page::has_long_header(io::Bytes content, std::size_t page) {
    return (load<std::uint16_t>(content, page + kFlagsAt) & kLongHeader) != 0;
}

std::size_t wal_page::header_size(io::Bytes content, std::size_t page) {
    return has_long_header(content, page) ? kLongHeaderSize : kHeaderSize;
}

std::optional<std::size_t> wal_record::data_at(io::Bytes head, std::uint64_t size) {
    std::size_t at = kHeaderSize;
    while (at + 5 <= head.size()) {
        std::uint64_t data_size = 0;
        switch (std::to_integer<std::uint8_t>(head[at])) {
            case kOrigin: at += 1 + 2; continue;
            case kTopLevelXid: at += 1 + 4; continue;
            case kDataShort:
                data_size = std::to_integer<std::uint8_t>(head[at + 1]);
                at += 1 + 1;
                break;
            case kDataLong:
                data_size = load<std::uint32_t>(head, at + 1);
                at += 1 + 4;
                break;
            default: return std::nullopt;
        }
        return at + data_size == size ? std::optional(at) : std::nullopt;
    }
    return std::nullopt;
}

bool wal_record::take(io::Bytes content, std::size_t at, io::MutableBytes out) {
    while (!out.empty()) {
        const std::size_t page_end = (at / wal_page::kSize + 1) * wal_page::kSize;
        const std::size_t part = std::min(out.size(), page_end - at);
        if (at + part > content.size()) return false;
        std::ranges::copy(content.subspan(at, part), out.begin());
        out = out.subspan(part);
        at = page_end + wal_page::kHeaderSize;
    }
    return true;
}

std::optional<std::int64_t> wal_record::time_us(io::Bytes record, std::size_t at) {
    const auto since_2000 = static_cast<std::int64_t>(load<std::uint64_t>(record, at));
    if (since_2000 < -kEpochUs || since_2000 > kUnixTimeMax_us - kEpochUs) return std::nullopt;
    return kEpochUs + since_2000;
}

bool wal_record::is_intact(io::Bytes record) {
    // The checksum is over the data first, then over the header up to itself.
    return crc32c(record.subspan(kHeaderSize), record.first(kCrcAt)) ==
           load<std::uint32_t>(record, kCrcAt);
}

}  // namespace chronos::pgdata
