#include "chronos/pgdata/wal_commits.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

/// As much of a record as has to be looked at: up to the time of a commit.
constexpr std::size_t kLookedAtMax = wal_record::kHeadSize + 8;

/// First so little, from the end of the content, then so many times as much.
constexpr std::size_t kPagesFirst = 8;
constexpr std::size_t kPagesFactor = 8;

/// Walks from record to record.
class Walk {
public:
    Walk(io::Bytes content, Lsn start) : content_(content), start_(start) {}

    /// The beginning of the last whole record among those that begin on pages from `page` on.
    std::optional<std::size_t> last_begin_from(std::size_t page) {
        std::optional<WalCommit> ignored;
        std::optional<std::size_t> at = first_record(page);
        while (at) at = step(*at, ignored);
        return last_begin_;
    }

    /// The beginning of the last record among those, also of one that goes on behind the content.
    std::optional<std::size_t> last_begun_from(std::size_t page) {
        static_cast<void>(last_begin_from(page));
        return begun_;
    }

    /// The last commit among the records that begin on pages from `page` on.
    std::optional<WalCommit> last_from(std::size_t page) {
        std::optional<WalCommit> last;
        std::optional<std::size_t> at = first_record(page);
        while (at) at = step(*at, last);
        return last;
    }

private:
    /// Where the data of a page begins; nullopt if it is not the page that belongs there.
    std::optional<std::size_t> data_of(std::size_t page) const {
        const std::size_t at = page * kWalPageSize;
        if (at + kWalPageSize > content_.size()) return std::nullopt;
        if (load<std::uint64_t>(content_, at + wal_page::kAddressAt) != start_.value + at)
            return std::nullopt;
        if (wal_page::has_long_header(content_, at) &&
            load<std::uint32_t>(content_, at + wal_page::kPageSizeAt) != kWalPageSize)
            return std::nullopt;
        return at + wal_page::header_size(content_, at);
    }

    /// The first record that begins on `page` or behind it: past the rest of one begun before.
    std::optional<std::size_t> first_record(std::size_t page) const {
        const std::optional<std::size_t> data = data_of(page);
        if (!data) return std::nullopt;
        const std::size_t at = page * kWalPageSize;
        if ((load<std::uint16_t>(content_, at + wal_page::kFlagsAt) & wal_page::kContinuesRecord) ==
            0)
            return data;
        return advance(*data, load<std::uint32_t>(content_, at + wal_page::kRemainderAt));
    }

    /// `count` bytes of record data further, over page headers; nullopt if that is out of reach.
    /// `out` gets the first of them, as many as fit.
    std::optional<std::size_t> advance(std::size_t at, std::size_t count,
                                       io::MutableBytes out = {}) const {
        for (;;) {
            const std::size_t page_end = (at / kWalPageSize + 1) * kWalPageSize;
            const std::size_t part = std::min(count, page_end - at);
            if (at + part > content_.size()) return std::nullopt;
            const std::size_t taken = std::min(part, out.size());
            if (taken > 0) std::memcpy(out.data(), content_.data() + at, taken);
            out = out.subspan(taken);
            at += part;
            count -= part;
            if (count == 0 && at < page_end) return at;
            const std::optional<std::size_t> next = data_of(at / kWalPageSize);
            if (!next) return count == 0 ? std::optional(at) : std::nullopt;
            at = *next;
            if (count == 0) return at;
        }
    }

    /// Looks at the record at `at` and returns where the next one begins.
    std::optional<std::size_t> step(std::size_t at, std::optional<WalCommit>& last) {
        at = wal_record::align(at);
        if (at % kWalPageSize == 0) {
            const std::optional<std::size_t> data = data_of(at / kWalPageSize);
            if (!data) return std::nullopt;
            at = *data;
        }
        if (at + 4 > content_.size()) return std::nullopt;
        const std::uint32_t size = load<std::uint32_t>(content_, at);
        if (size < wal_record::kHeaderSize) return std::nullopt;  // the end, or no WAL at all
        std::byte head[kLookedAtMax] = {};
        begun_ = at;
        const std::size_t looked_at = std::min<std::size_t>(size, kLookedAtMax);
        const std::optional<std::size_t> end = advance(at, size, {head, looked_at});
        if (!end) return std::nullopt;
        last_begin_ = at;
        if (const auto time = commit_time({head, looked_at}))
            last = WalCommit{*time, Lsn{start_.value + wal_record::align(*end)},
                             Lsn{start_.value + at}};
        return end;
    }

    static std::optional<std::int64_t> commit_time(io::Bytes record) {
        if (record.size() < wal_record::kHeaderSize + 2 ||
            std::to_integer<std::uint8_t>(record[wal_record::kManagerAt]) !=
                wal_record::kTransactionManager)
            return std::nullopt;
        const auto operation =
            static_cast<std::uint8_t>(std::to_integer<std::uint8_t>(record[wal_record::kInfoAt]) &
                                      wal_record::kOperationMask);
        if (operation != wal_record::kCommit && operation != wal_record::kCommitPrepared)
            return std::nullopt;
        std::size_t at = wal_record::kHeaderSize;
        while (at < record.size()) {
            switch (std::to_integer<std::uint8_t>(record[at])) {
                case wal_record::kOrigin: at += 1 + 2; continue;
                case wal_record::kTopLevelXid: at += 1 + 4; continue;
                case wal_record::kDataShort: at += 1 + 1; break;
                case wal_record::kDataLong: at += 1 + 4; break;
                default: return std::nullopt;
            }
            if (at + 8 > record.size()) return std::nullopt;
            return wal_record::time_us(record, at);
        }
        return std::nullopt;
    }

    io::Bytes content_;
    Lsn start_;
    std::optional<std::size_t> last_begin_;
    std::optional<std::size_t> begun_;
};

/// Looks at the end first, and at more and more of the content until `look` finds something.
template <class Look>
auto from_the_end(io::Bytes content, Lsn start, const Look& look)
    -> decltype(look(std::declval<Walk&>(), std::size_t{})) {
    const std::size_t pages = content.size() / kWalPageSize;
    for (std::size_t count = kPagesFirst;; count *= kPagesFactor) {
        const std::size_t from = count >= pages ? 0 : pages - count;
        Walk walk(content.first(pages * kWalPageSize), start);
        if (auto found = look(walk, from)) return found;
        if (from == 0) return std::nullopt;
    }
}

}  // namespace

std::optional<WalCommit> last_commit(io::Bytes content, Lsn start) {
    return from_the_end(content, start,
                        [](Walk& walk, std::size_t page) { return walk.last_from(page); });
}

std::string wal_before(io::Bytes content, Lsn start, Lsn at) {
    const std::size_t kept = std::min<std::uint64_t>(content.size(), at.value - start.value);
    std::string before(reinterpret_cast<const char*>(content.data()), kept);
    before.resize((kept + kWalPageSize - 1) / kWalPageSize * kWalPageSize, '\0');
    return before;
}

std::optional<WalCommit> last_commit_before(io::Bytes content, Lsn start, Lsn at) {
    if (at < start || at.value - start.value > content.size()) return std::nullopt;
    const auto last = last_commit(io::bytes(wal_before(content, start, at)), start);
    // A record that the cut goes through looks whole.
    return last && last->end > at ? last_commit_before(content, start, last->begin) : last;
}

std::optional<Lsn> last_record(io::Bytes content, Lsn start) {
    const auto at = from_the_end(
        content, start, [](Walk& walk, std::size_t page) { return walk.last_begin_from(page); });
    if (!at) return std::nullopt;
    return Lsn{start.value + *at};
}

std::optional<Lsn> last_begun(io::Bytes content, Lsn start) {
    const auto at = from_the_end(
        content, start, [](Walk& walk, std::size_t page) { return walk.last_begun_from(page); });
    if (!at) return std::nullopt;
    return Lsn{start.value + *at};
}

bool is_written_behind(io::Bytes pages, Lsn start, Lsn at, std::uint32_t segment_size) {
    const auto is_page = [&](std::size_t offset) {
        return offset + wal_page::kHeaderSize <= pages.size() &&
               load<std::uint64_t>(pages, offset + wal_page::kAddressAt) == start.value + offset;
    };
    const std::size_t offset = wal_record::align(at.value - start.value);
    const std::size_t page = offset / kWalPageSize * kWalPageSize;
    if (!is_page(page)) return false;
    // A page is begun for the record that goes on in it, or begins with it.
    if (offset == page) return true;
    if (offset + wal_record::kPreviousAt + sizeof(std::uint64_t) > page + kWalPageSize)
        return is_page(page + kWalPageSize);
    if (load<std::uint32_t>(pages, offset) < wal_record::kHeaderSize) return false;
    const auto previous = load<std::uint64_t>(pages, offset + wal_record::kPreviousAt);
    return previous < at.value &&
           previous + segment_size >= start.value / segment_size * segment_size;
}

}  // namespace chronos::pgdata
