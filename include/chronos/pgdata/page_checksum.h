#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// PostgreSQL's 16-bit page checksum. `page` is a whole page: a multiple of 128 bytes. Source:
/// docs/format/cluster-files.md, Page checksum algorithm.
std::uint16_t page_checksum(io::Bytes page, std::uint32_t block_number);

/// What the check of one file found. Source: docs/format/cluster-files.md, Page checksums.
struct PageCheckResult {
    bool misaligned = false;  ///< the file does not end on a page boundary: bad, without a list
    std::vector<std::pair<std::uint64_t, std::uint64_t>> error_ranges;  ///< both ends included
    bool error() const { return misaligned || !error_ranges.empty(); }
};

/// Checks pages as they pass and hands them on. A page that fails is read again through
/// `reread_page` (offset in the file, space for one page; returns false if it cannot): if its
/// bytes have changed it was being written and is no error.
class PageCheckSink final : public io::Sink {
public:
    using RereadPage = std::function<bool(std::uint64_t offset_bytes, io::MutableBytes page)>;
    struct Options {
        std::uint32_t page_size = 8192;
        std::uint64_t first_block = 0;  ///< segment number x pages per segment
        bool header_check = true;       ///< a new page is known by pd_upper, else by pd_checksum
    };
    PageCheckSink(Options options, RereadPage reread_page, io::Sink& next);
    Result<> write(io::Bytes in) override;
    Result<> finish() override;
    const PageCheckResult& result() const { return result_; }

private:
    void check_page(io::Bytes page);
    bool is_good(io::Bytes page, std::uint64_t block) const;
    bool was_being_written(io::Bytes page, std::uint64_t index) const;

    Options options_;
    RereadPage reread_page_;
    io::Sink& next_;
    std::vector<std::byte> partial_;
    std::uint64_t pages_ = 0;
    PageCheckResult result_;
};

}  // namespace chronos::pgdata
