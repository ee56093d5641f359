#include "chronos/pgdata/wal_extent.h"

#include <algorithm>
#include <tuple>

#include "chronos/pgdata/wal.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

constexpr std::uint16_t kOverwritesRecord = 0x0008;
constexpr std::uint8_t kSwitch = 0x40;

bool is_blank(io::Bytes header) {
    return std::ranges::all_of(header, [](std::byte one) { return one == std::byte{0}; });
}

}  // namespace

static_assert(wal_record::kHeaderSize == 24);

void WalReader::go_on(Timeline timeline) {
    // Nothing goes on behind what was left, or could not be read.
    if (end_) remaining_ = 0;
    end_.reset();
    left_ = false;
    flaw_.clear();
    timeline_ = timeline;
    offset_ = 0;
    partial_.clear();
    rest_.clear();
}

Result<> WalReader::write(io::Bytes in) {
    while (!in.empty()) {
        if (partial_.empty() && in.size() >= kWalPageSize) {
            add_page(in.first(kWalPageSize));
            in = in.subspan(kWalPageSize);
            continue;
        }
        const std::size_t part = std::min(in.size(), kWalPageSize - partial_.size());
        partial_.insert(partial_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(part));
        in = in.subspan(part);
        if (partial_.size() < kWalPageSize) break;
        add_page(partial_);
        partial_.clear();
    }
    return {};
}

WalExtent WalReader::extent() const {
    WalExtent extent{here(), last_,     true,         "", first_, before_first_,
                     begun_, gives_up_, tablespaces_, {}, rest_};
    if (judged_ && end_) {
        extent.end = *end_;
        extent.whole = left_;
        extent.flaw = left_ ? "" : flaw_;
    } else if (judged_ && known_ && remaining_ > 0) {
        extent.last_begun = record_;
        if (may_be_tablespace()) extent.begun = record_so_far();
        if (first_.value == 0) std::tie(extent.first, extent.before_first) = head_of_first();
    }
    return extent;
}

/// Of the record at hand, as far as its head was seen.
std::pair<Lsn, Lsn> WalReader::head_of_first() const {
    if (head_size_ < wal_record::kPreviousAt + sizeof(std::uint64_t)) return {};
    return {record_, Lsn{load<std::uint64_t>(io::Bytes(head_), wal_record::kPreviousAt)}};
}

void WalReader::add_page(io::Bytes page) {
    if (offset_ == 0) begin(page);
    if (judged_ && !left_) {
        const Page kind = kind_of(page);
        if (!end_ && kind != Page::next) stop(remaining_ > 0 && known_ ? record_ : here());
        if (end_) {
            note_behind(kind);
        } else {
            page_timeline_ = load<std::uint32_t>(page, wal_page::kTimelineAt);
            read_records(page);
        }
    }
    offset_ += kWalPageSize;
}

void WalReader::begin(io::Bytes page) {
    const auto header = parse_wal_header(page);
    judged_ = header && load<std::uint32_t>(page, wal_page::kPageSizeAt) == kWalPageSize;
    if (header) start_ = header->page_address;
    if (!judged_) return;
    segment_size_ = header->segment_size;
    magic_ = load<std::uint16_t>(page, wal_page::kMagicAt);
    page_timeline_ = header->timeline;
}

WalReader::Page WalReader::kind_of(io::Bytes page) const {
    const io::Bytes header = page.first(wal_page::kHeaderSize);
    if (is_blank(header)) return Page::blank;
    const auto address = load<std::uint64_t>(header, wal_page::kAddressAt);
    if (load<std::uint16_t>(header, wal_page::kMagicAt) != magic_ ||
        address % segment_size_ != offset_)
        return Page::none;
    const auto timeline = load<std::uint32_t>(header, wal_page::kTimelineAt);
    const bool own = begins_ && address >= begins_->value;
    const bool next = address == here().value && timeline >= page_timeline_ &&
                      timeline <= timeline_ && (!own || timeline == timeline_);
    return next ? Page::next : Page::older;
}

/// Pages of the file's former life may be there, and have positions of theirs.
void WalReader::note_behind(Page kind) {
    if (!flaw_.empty()) return;
    if (kind == Page::none)
        flaw_ = "the page at " + here().str() + " is no page of WAL";
    else if (kind == Page::next && offset_ > 0)
        flaw_ = "it is damaged at " + end_->str() + ", and goes on at " + here().str();
}

void WalReader::stop(Lsn end) {
    end_ = end;
    remaining_ = 0;
}

/// What the page says of the record that goes on in it. False: it is not the one that was begun.
bool WalReader::begin_records(io::Bytes page, std::size_t& at) {
    at = wal_page::header_size(page, 0);
    const auto flags = load<std::uint16_t>(page, wal_page::kFlagsAt);
    const std::uint32_t rest = (flags & wal_page::kContinuesRecord) != 0
                                   ? load<std::uint32_t>(page, wal_page::kRemainderAt)
                                   : 0;
    // A server that crashed within a record goes on without it.
    const bool given_up = rest == 0 && (flags & kOverwritesRecord) != 0;
    if (offset_ == 0) gives_up_ = given_up;
    if (rest == remaining_) return true;
    const bool strange = offset_ > 0 && !given_up;
    if (strange && depth_ == Depth::records) {
        stop(remaining_ > 0 && known_ ? record_ : here());
        return false;
    }
    remaining_ = rest;
    known_ = false;
    return true;
}

void WalReader::read_records(io::Bytes page) {
    std::size_t at = 0;
    if (!begin_records(page, at)) return note_behind(Page::next);
    for (;;) {
        if (remaining_ > 0) {
            const std::size_t part = std::min<std::uint64_t>(remaining_, kWalPageSize - at);
            if (known_)
                feed(page.subspan(at, part));
            else if (offset_ == 0 && remaining_ <= kTablespaceRecordMax)
                rest_ = io::text(page.subspan(at, part));
            at = wal_record::align(at + part);
            remaining_ -= part;
            if (remaining_ > 0) return;
            if (known_ && !end_record()) return;
            if (left_) return stop(Lsn{here().value + at});
        }
        if (at >= kWalPageSize || !begin_record(page, at)) return;
    }
}

/// False if none begins there.
bool WalReader::begin_record(io::Bytes page, std::size_t at) {
    const auto size = load<std::uint32_t>(page, at);
    record_ = Lsn{here().value + at};
    if (size < wal_record::kHeaderSize || size > wal_record::kSizeMax) {
        if (depth_ == Depth::records) stop(record_);
        return false;
    }
    remaining_ = size;
    known_ = true;
    record_size_ = size;
    head_size_ = 0;
    crc_ = 0;
    behind_head_.clear();
    return true;
}

/// nullopt while the head was not seen as far as that.
std::optional<std::uint8_t> WalReader::manager() const {
    if (head_size_ <= wal_record::kManagerAt) return std::nullopt;
    return std::to_integer<std::uint8_t>(head_[wal_record::kManagerAt]);
}

bool WalReader::may_be_tablespace() const {
    return record_size_ <= kTablespaceRecordMax &&
           manager().value_or(wal_record::kTablespaceManager) == wal_record::kTablespaceManager;
}

bool WalReader::is_wanted() const {
    if (record_size_ > wanted_.size_max) return false;
    return !wanted_.manager || manager().value_or(*wanted_.manager) == *wanted_.manager;
}

std::string WalReader::record_so_far() const {
    return std::string(io::text(io::Bytes(head_).first(head_size_))) + behind_head_;
}

void WalReader::feed(io::Bytes part) {
    const std::size_t head = std::min(part.size(), head_.size() - head_size_);
    std::copy_n(part.begin(), head, head_.begin() + static_cast<std::ptrdiff_t>(head_size_));
    head_size_ += head;
    if (is_kept()) behind_head_ += io::text(part.subspan(head));
    if (depth_ == Depth::records) crc_ = crc32c_more(crc_, part.subspan(head));
}

/// False if its checksum is wrong.
bool WalReader::end_record() {
    const io::Bytes head(head_);
    const bool is_switch =
        std::to_integer<std::uint8_t>(head_[wal_record::kManagerAt]) == wal_record::kLogManager &&
        std::to_integer<std::uint8_t>(head_[wal_record::kInfoAt]) == kSwitch;
    if (depth_ == Depth::records || is_switch) {
        const bool intact = crc32c_more(crc_, head.first(wal_record::kCrcAt)) ==
                            load<std::uint32_t>(head, wal_record::kCrcAt);
        if (!intact && depth_ == Depth::records) {
            stop(record_);
            return false;
        }
        left_ = intact && is_switch;
    }
    if (may_be_tablespace())
        if (auto created = parse_tablespace_creation(io::bytes(record_so_far()), record_))
            tablespaces_.push_back(*std::move(created));
    if (is_wanted()) wanted_.take(record_, io::bytes(record_so_far()));
    if (depth_ == Depth::records) last_ = record_;
    begun_ = record_;
    if (first_.value == 0) std::tie(first_, before_first_) = head_of_first();
    return true;
}

std::string joint_flaw(Lsn last_begun, const WalExtent& next) {
    if (last_begun.value == 0 || next.first.value == 0 || next.before_first == last_begun ||
        next.gives_up_record)
        return "";
    return "does not follow the segment before it: its first record, at " + next.first.str() +
           ", was written behind one at " + next.before_first.str() +
           ", and that segment ends with one at " + last_begun.str() +
           " (pg_resetwal, or a second server, has written it)";
}

std::optional<TablespaceCreation> tablespace_across(const WalExtent& before,
                                                    const WalExtent& next) {
    if (before.begun.empty() || next.rest.empty() || next.gives_up_record) return std::nullopt;
    return parse_tablespace_creation(io::bytes(before.begun + next.rest), before.last_begun);
}

WalExtent wal_extent(io::Bytes content, WalReader::Depth depth, Timeline timeline,
                     std::optional<Lsn> begins) {
    WalReader reader(depth, timeline, begins);
    [[maybe_unused]] const Result<> written = reader.write(content);
    return reader.extent();
}

}  // namespace chronos::pgdata
