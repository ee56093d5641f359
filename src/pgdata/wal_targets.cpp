#include "chronos/pgdata/wal_targets.h"

#include <algorithm>
#include <array>
#include <utility>

#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

constexpr std::uint8_t kRestorePoint = 0x70;
constexpr std::size_t kRestorePointNameSize = 64;
constexpr std::size_t kRestorePointSize = wal_record::kHeaderSize + 2 + 8 + kRestorePointNameSize;

/// Records are not larger than the content, all together; what only looks like one is in the way of
/// a few. Beyond so many times the content it was put there, in rows of a table say, to have us
/// compute checksums for hours.
constexpr std::uint64_t kSummedMax = 4;

bool ends_transaction(std::uint8_t info) {
    const auto operation = static_cast<std::uint8_t>(info & wal_record::kOperationMask);
    return operation == wal_record::kCommit || operation == wal_record::kAbort ||
           operation == wal_record::kCommitPrepared || operation == wal_record::kAbortPrepared;
}

/// Whose end the record of a prepared transaction is: that stands behind all that it may tell
/// otherwise. nullopt if it cannot be told.
std::optional<std::uint32_t> prepared_xid(io::Bytes data, std::uint8_t info) {
    using namespace wal_record;
    constexpr std::array<std::pair<std::uint32_t, std::size_t>, 3> kLists{
        {{kTellsSubtransactions, 4},
         {kTellsDroppedFiles, kDroppedFileSize},
         {kTellsInvalidations, kInvalidationSize}}};
    constexpr std::size_t kTimeSize = 8;
    constexpr std::size_t kWord = sizeof(std::uint32_t);
    if ((info & kHasFlags) == 0 || data.size() < kTimeSize + kWord) return std::nullopt;
    const auto has = load<std::uint32_t>(data, kTimeSize);
    if ((has & kTellsDroppedStatistics) != 0 || (has & kTellsPrepared) == 0) return std::nullopt;
    std::size_t at = kTimeSize + kWord + ((has & kTellsDatabase) != 0 ? 2 * kWord : 0);
    for (const auto& [flag, size] : kLists) {
        if ((has & flag) == 0) continue;
        if (at + kWord > data.size()) return std::nullopt;
        at += kWord + load<std::uint32_t>(data, at) * size;
    }
    if (at + kWord > data.size()) return std::nullopt;
    return load<std::uint32_t>(data, at);
}

class Search {
public:
    Search(io::Bytes content, const WalTarget& target)
        : content_(content.first(content.size() / kWalPageSize * kWalPageSize)),
          target_(target),
          start_(content_.empty() ? 0 : load<std::uint64_t>(content_, wal_page::kAddressAt)) {}

    TargetInWal run() {
        for (std::size_t page = 0; page < content_.size(); page += kWalPageSize) {
            const std::size_t first = page + wal_page::header_size(content_, page);
            for (std::size_t at = first; at < page + kWalPageSize; at += 8) look_at(at);
        }
        if (ends_in_a_head()) found_.uncertain = true;
        return found_;
    }

private:
    /// Whether the last record begins so near to the end that what it is cannot be told.
    bool ends_in_a_head() const {
        if (content_.empty()) return false;
        const std::size_t page = content_.size() - kWalPageSize;
        std::size_t at = page + wal_page::header_size(content_, page);
        if ((load<std::uint16_t>(content_, page + wal_page::kFlagsAt) &
             wal_page::kContinuesRecord) != 0)
            at += load<std::uint32_t>(content_, page + wal_page::kRemainderAt);
        for (at = wal_record::align(at); at < content_.size();) {
            const std::uint32_t size = load<std::uint32_t>(content_, at);
            if (size < wal_record::kHeaderSize) return false;
            if (at + size > content_.size()) return at + wal_record::kHeadSize > content_.size();
            at = wal_record::align(at + size);
        }
        return false;
    }

    void look_at(std::size_t at) {
        const std::uint64_t word = load<std::uint64_t>(content_, at);
        const std::uint64_t size = word & 0xFFFFFFFFu;
        if (size <= wal_record::kHeaderSize || size > wal_record::kSizeMax) return;
        std::byte buffer[wal_record::kHeadSize] = {};
        if (!wal_record::take(
                content_, at,
                std::span(buffer).first(std::min<std::size_t>(size, wal_record::kHeadSize))))
            return;
        const io::Bytes head(buffer);
        const auto info = std::to_integer<std::uint8_t>(head[wal_record::kInfoAt]);
        const auto manager = std::to_integer<std::uint8_t>(head[wal_record::kManagerAt]);
        const bool point = manager == wal_record::kLogManager && info == kRestorePoint &&
                           size == kRestorePointSize;
        const bool end = manager == wal_record::kTransactionManager && ends_transaction(info);
        if (!point && !end) return;
        const std::uint64_t previous = load<std::uint64_t>(head, wal_record::kPreviousAt);
        const std::uint64_t position = start_ + at;
        if (load<std::uint16_t>(head, wal_record::kInfoAt + 2) != 0 || previous == 0 ||
            previous % 8 != 0 || previous >= position || position - previous > wal_record::kSizeMax)
            return;
        const auto data = wal_record::data_at(head, size);
        if (!data) return;
        const bool goes_on = at + size > content_.size();
        if (!goes_on) summed_ += size;
        if (goes_on || summed_ > kSummedMax * content_.size()) {
            found_.uncertain = true;
            return;
        }
        record_.resize(size);
        if (!wal_record::take(content_, at, std::as_writable_bytes(std::span(record_)))) {
            found_.uncertain = true;
            return;
        }
        const io::Bytes record = io::bytes(record_);
        if (position < target_.from.value || !wal_record::is_intact(record)) return;
        if (point)
            add_restore_point(record.subspan(*data), Lsn{position});
        else
            add_end(record, record.subspan(*data), info, Lsn{position});
    }

    void add_restore_point(io::Bytes data, Lsn at) {
        if (data.size() < 8 + kRestorePointNameSize || target_.name.empty()) return;
        const std::string_view name = io::text(data.subspan(8, kRestorePointNameSize));
        if (name.substr(0, name.find('\0')) == target_.name) found_at(at);
    }

    void add_end(io::Bytes record, io::Bytes data, std::uint8_t info, Lsn at) {
        if (data.size() < 8) return;
        if (const auto time = wal_record::time_us(data, 0))
            found_.last_end_us = std::max(found_.last_end_us.value_or(*time), *time);
        if (!target_.xid) return;
        const auto operation = static_cast<std::uint8_t>(info & wal_record::kOperationMask);
        const bool prepared =
            operation == wal_record::kCommitPrepared || operation == wal_record::kAbortPrepared;
        const auto xid = prepared ? prepared_xid(data, info)
                                  : std::optional(load<std::uint32_t>(record, wal_record::kXidAt));
        if (!xid)
            found_.uncertain = true;
        else if (*xid == *target_.xid)
            found_at(at);
    }

    void found_at(Lsn at) {
        found_.found = true;
        found_.first = std::min(found_.first.value_or(at), at);
    }

    io::Bytes content_;
    const WalTarget& target_;
    std::uint64_t start_;
    std::string record_;
    std::uint64_t summed_ = 0;  ///< bytes of records whose checksum was looked at
    TargetInWal found_;
};

}  // namespace

void TargetInWal::add(const TargetInWal& other) {
    found = found || other.found;
    if (other.first) first = std::min(first.value_or(*other.first), *other.first);
    uncertain = uncertain || other.uncertain;
    if (other.last_end_us)
        last_end_us = std::max(last_end_us.value_or(*other.last_end_us), *other.last_end_us);
}

TargetInWal find_target_in_wal(io::Bytes content, const WalTarget& target) {
    return Search(content, target).run();
}

}  // namespace chronos::pgdata
