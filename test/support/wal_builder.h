#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::test {

/// Writes WAL as PostgreSQL 15 does, from `start` on: pages with headers, records across them.
class WalBuilder {
public:
    explicit WalBuilder(std::size_t size, std::uint64_t start = std::uint64_t{5} << 24)
        : content_(size, '\0'), start_(start) {}

    /// Ends of records are what the server calls them: aligned.
    Lsn record(std::uint8_t manager, std::uint8_t info, const std::string& data) {
        at_ = (at_ + 7) & ~std::size_t{7};
        std::string bytes(24, '\0');
        const auto size = static_cast<std::uint32_t>(24 + data.size());
        std::memcpy(bytes.data(), &size, 4);
        bytes[16] = static_cast<char>(info);
        bytes[17] = static_cast<char>(manager);
        append(bytes + data);
        return Lsn{start_ + ((at_ + 7) & ~std::size_t{7})};
    }
    Lsn commit(std::int64_t time, const std::string& before = "") {
        std::string data = before + "\xff\x20";
        data.append(reinterpret_cast<const char*>(&time), 8);
        return record(1, 0x80, data + std::string(24, 'x'));
    }
    void filler(std::size_t size) { record(10, 0, std::string(size, 'f')); }
    std::size_t at() const { return at_; }

    io::Bytes bytes() const { return io::bytes(content_); }
    std::string& content() { return content_; }

private:
    template <class T>
    void put(std::size_t at, T value) {
        std::memcpy(content_.data() + at, &value, sizeof value);
    }
    void begin_page(std::size_t rest) {
        const bool first = at_ == 0;
        put(at_, std::uint16_t{0xD110});
        put(at_ + 2, static_cast<std::uint16_t>((first ? 2 : 0) | (rest > 0 ? 1 : 0)));
        put(at_ + 4, std::uint32_t{1});
        put(at_ + 8, start_ + at_);
        put(at_ + 16, static_cast<std::uint32_t>(rest));
        if (first) put(at_ + 36, static_cast<std::uint32_t>(kPageSize));
        at_ += first ? 40 : 24;
    }
    void append(std::string_view bytes) {
        if (at_ % kPageSize == 0) begin_page(0);
        while (!bytes.empty()) {
            const std::size_t part = std::min(bytes.size(), kPageSize - at_ % kPageSize);
            std::memcpy(content_.data() + at_, bytes.data(), part);
            at_ += part;
            bytes.remove_prefix(part);
            if (!bytes.empty() && at_ % kPageSize == 0) begin_page(bytes.size());
        }
    }

    static constexpr std::size_t kPageSize = 8192;
    std::string content_;
    std::uint64_t start_;
    std::size_t at_ = 0;
};

}  // namespace chronos::test
