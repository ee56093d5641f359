#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"
#include "pgdata/crc32c.h"

namespace chronos::pgdata {

inline constexpr std::size_t kPage = 8192;
inline constexpr std::uint64_t kStart = std::uint64_t{5} << 24;
inline constexpr std::int64_t kEpochUs = std::int64_t{946684800} * 1000000;  ///< 2000-01-01

template <class Value>
std::string raw(Value value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// Puts a record into WAL, over the headers of pages and as far as the content goes.
inline void put(std::string& content, std::size_t at, std::string record) {
    while (!record.empty() && at < content.size()) {
        const std::size_t here = std::min(record.size(), kPage - at % kPage);
        content.replace(at, here, record.substr(0, here));
        record.erase(0, here);
        at += here + 24;
    }
}

inline constexpr std::uint32_t kWalSize = 1u << 20;
inline constexpr std::uint64_t kWalBegin = std::uint64_t{5} * kWalSize;

/// A segment of 1 MiB of PostgreSQL 15, as a server fills it.
class Wal {
public:
    explicit Wal(Timeline timeline = 1) : timeline_(timeline), content_(kWalSize, '\0') {}

    void record(std::size_t size, std::uint8_t manager = 10, std::uint8_t info = 0) {
        record_of(std::string(size - 24, 'd'), manager, info);
    }
    void record_of(const std::string& data, std::uint8_t manager, std::uint8_t info) {
        const std::string header = raw(static_cast<std::uint32_t>(24 + data.size())) +
                                   raw(std::uint32_t{7}) + raw(kWalBegin) +
                                   static_cast<char>(info) + static_cast<char>(manager) +
                                   std::string(2, '\0');
        append_record(header + raw(crc32c(io::bytes(data + header))) + data);
    }
    void append_record(const std::string& record) { last_ = append(record); }
    /// As a new segment that begins with so much of the record that the one before it began.
    void begin_with(const std::string& rest) {
        begin_page(rest.size());
        content_.replace(at_, rest.size(), rest);
        at_ += rest.size();
    }
    /// Pages up to `size`, each with a record that goes on in the next one.
    void fill(std::size_t size) {
        while (at_ < size) record(3000);
    }
    void switch_away() { record(24, 0, 0x40); }
    void timeline(Timeline timeline) { timeline_ = timeline; }
    std::size_t at() const { return (at_ + 7) & ~std::size_t{7}; }
    std::size_t last() const { return last_; }
    std::string& content() { return content_; }

    /// What a recycled file has there: pages of an older segment.
    void recycle(std::size_t from, std::uint64_t older = 2) {
        for (std::size_t page = from; page < kWalSize; page += kPage) {
            content_.replace(page, 24,
                             raw(std::uint16_t{0xD110}) + raw(std::uint16_t{1}) +
                                 raw(std::uint32_t{1}) + raw(older * kWalSize + page) +
                                 raw(std::uint32_t{90}) + std::string(4, '\0'));
            content_.replace(page + 24, 3000, std::string(3000, 'o'));
        }
    }

private:
    void begin_page(std::size_t rest) {
        const bool first = at_ == 0;
        const auto flags = static_cast<std::uint16_t>((first ? 2 : 0) | (rest > 0 ? 1 : 0));
        std::string header = raw(std::uint16_t{0xD110}) + raw(flags) + raw(timeline_) +
                             raw(kWalBegin + at_) + raw(static_cast<std::uint32_t>(rest)) +
                             std::string(4, '\0');
        if (first) header += raw(std::uint64_t{1}) + raw(kWalSize) + raw(std::uint32_t{kPage});
        content_.replace(at_, header.size(), header);
        at_ += header.size();
    }
    /// Where it begins.
    std::size_t append(std::string bytes) {
        at_ = at();
        if (at_ % kPage == 0 && at_ < kWalSize) begin_page(0);
        const std::size_t begin = at_;
        while (!bytes.empty() && at_ < kWalSize) {
            const std::size_t part = std::min(bytes.size(), kPage - at_ % kPage);
            content_.replace(at_, part, bytes, 0, part);
            bytes.erase(0, part);
            at_ += part;
            if (!bytes.empty() && at_ < kWalSize) begin_page(bytes.size());
        }
        return begin;
    }

    Timeline timeline_;
    std::string content_;
    std::size_t at_ = 0;
    std::size_t last_ = 0;
};

}  // namespace chronos::pgdata
