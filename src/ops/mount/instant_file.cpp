#include "ops/mount/instant_file.h"

#include <algorithm>
#include <cerrno>

#include "chronos/base/error.h"

namespace chronos::ops::mount {
namespace {

constexpr std::size_t kBitBytes = PresenceTable::kBitBytes;

std::vector<bool> pages_of(const std::string& bits, std::uint64_t count) {
    std::vector<bool> pages(count);
    for (std::uint64_t page = 0; page < count; ++page)
        pages[page] = (static_cast<unsigned char>(bits[page / 8]) >> (page % 8) & 1) != 0;
    return pages;
}

/// Of the pages of one sector.
std::string bits_of(const Presence& presence, std::size_t sector) {
    std::string bits(kBitBytes, '\0');
    const std::uint64_t first = sector * PresenceTable::kPages;
    const std::uint64_t end = std::min(presence.page_count(), first + PresenceTable::kPages);
    for (std::uint64_t page = first; page < end; ++page)
        if (presence.has(page))
            bits[(page - first) / 8] =
                static_cast<char>(bits[(page - first) / 8] | 1 << ((page - first) % 8));
    return bits;
}

}  // namespace

InstantFile::InstantFile(Open open, std::uint64_t size_bytes, bool is_new)
    : open_(std::move(open)),
      table_(nullptr),
      entry_(0),
      size_bytes_(size_bytes),
      presence_(0),
      written_(is_new) {}

InstantFile::InstantFile(Open open, std::uint64_t size_bytes, PresenceTable& table,
                         std::size_t entry, Fetch fetch)
    : open_(std::move(open)),
      table_(&table),
      entry_(entry),
      fetch_(std::move(fetch)),
      size_bytes_(size_bytes),
      presence_(table.file(entry).size_bytes) {}

Result<> InstantFile::resume() {
    PresenceTable::Kept kept = CHRONOS_TRY(table_->load(entry_));
    const std::lock_guard lock(mutex_);
    Presence presence(kept.limit, pages_of(kept.bits, Presence(kept.limit).page_count()));
    if (kept.cut) {
        cut_ = written_ = true;
        ++cuts_;
        if (size_bytes_ > kept.limit) {
            int error = usable();
            if (error == 0) error = lower_->resize(kept.limit);
            if (error != 0)
                return system_error(ErrorKind::file_write, "cut off a file as was begun", error);
            size_bytes_ = kept.limit;
        }
    }
    if (size_bytes_ < kept.limit) {
        // Of what is whole it is not noted any more.
        if (!presence.complete())
            return Error(ErrorKind::format, "file " + std::to_string(table_->file(entry_).number) +
                                                " of the backup was cut off by something else")
                .with_hint("Restore the backup again.");
        presence.cut(size_bytes_);
    }
    presence_ = std::move(presence);
    stored_ = std::move(kept.bits);
    due_.assign(stored_.size() / kBitBytes, false);
    return {};
}

/// Under the mutex, as the next ones.
int InstantFile::usable() {
    if (lost_) return EIO;
    return lower_ != nullptr ? 0 : open_(lower_);
}

int InstantFile::lose() {
    lost_ = true;
    return EIO;
}

bool InstantFile::is_noted(std::uint64_t page) const {
    const auto bits = static_cast<unsigned char>(
        stored_[page / PresenceTable::kPages * kBitBytes + page % PresenceTable::kPages / 8]);
    return (bits >> (page % 8) & 1) != 0;
}

void InstantFile::add(ByteRange range) {
    if (table_ == nullptr) return;
    presence_.add(range);
    const std::uint64_t end = std::min(range.end, presence_.limit());
    for (std::uint64_t page = range.begin / Presence::kPage; page * Presence::kPage < end; ++page) {
        const std::size_t sector = page / PresenceTable::kPages;
        if (due_[sector] || !presence_.has(page) || is_noted(page)) continue;
        due_[sector] = true;
        ++due_count_;
    }
}

/// Whether nothing is missing for whoever comes after a power failure either: from then on it is a
/// file as any other.
bool InstantFile::settle() {
    if (table_ == nullptr) return true;
    if (!presence_.complete() || due_count_ > 0 || cut_ || !table_->is_synced(stored_version_))
        return false;
    table_ = nullptr;
    std::string().swap(stored_);
    std::vector<bool>().swap(due_);
    return true;
}

/// What the backup has there, of which whole pages that nobody has written or cut off are kept.
int InstantFile::put_down(std::uint64_t offset, std::string_view content) {
    if (const int failed = usable(); failed != 0) return failed;
    for (const ByteRange part : presence_.absent_pages_of({offset, offset + content.size()})) {
        const std::string_view of_part = content.substr(part.begin - offset, part.end - part.begin);
        if (const int failed = lower_->write(part.begin, of_part); failed != 0) return failed;
        add(part);
    }
    return 0;
}

bool InstantFile::keep(const std::vector<Piece>& pieces) {
    const std::lock_guard lock(mutex_);
    const bool was_open = lower_ != nullptr;
    bool kept = true;
    for (const Piece& piece : pieces) {
        const ByteRange range{piece.offset, piece.offset + piece.content.size()};
        // What was overwritten or cut off needs no file.
        if (kept && presence_.first_absent(range))
            kept = put_down(piece.offset, piece.content) == 0 && !presence_.first_absent(range);
    }
    if (!was_open) lower_ = nullptr;
    return kept;
}

bool InstantFile::lay(std::uint64_t offset, std::string_view content) {
    const ByteRange range{offset, offset + content.size()};
    std::shared_ptr<LowerFile> lower;
    {
        const std::lock_guard lock(mutex_);
        const bool was_open = lower_ != nullptr;
        if (usable() != 0) return false;
        lower = lower_;
        // What was overwritten meanwhile stays so, which is seen by the same mutex.
        for (const ByteRange part : presence_.absent_pages_of(range))
            if (lower->write(part.begin,
                             content.substr(part.begin - offset, part.end - part.begin)) != 0)
                return false;
        if (!was_open) lower_ = nullptr;
    }
    lower->start_write_back(range.begin, range.end);
    return true;
}

void InstantFile::laid() {
    const std::lock_guard lock(mutex_);
    add({0, presence_.limit()});
}

/// Fetches what is wanted, without the mutex.
int InstantFile::get(ByteRange wanted, const Fetch& fetch, const fuse::Interrupted& interrupted,
                     std::unique_lock<std::mutex>& lock, std::string& fetched) {
    lock.unlock();
    const auto size = static_cast<std::size_t>(wanted.end - wanted.begin);
    const int error = fetch(wanted.begin, size, interrupted, fetched);
    lock.lock();
    if (error != 0) return error;
    return fetched.size() == size ? 0 : EIO;
}

/// The same, and puts it down.
int InstantFile::take(ByteRange wanted, const Fetch& fetch, const fuse::Interrupted& interrupted,
                      std::unique_lock<std::mutex>& lock) {
    std::string fetched;
    const int error = get(wanted, fetch, interrupted, lock, fetched);
    if (error == EAGAIN) return 0;
    return error != 0 ? error : put_down(wanted.begin, fetched);
}

/// The first part of the range that is neither here nor among those that found no room.
std::optional<ByteRange> InstantFile::first_missing(ByteRange range, const Loose& loose) const {
    for (std::uint64_t at = range.begin; at < range.end;) {
        const auto absent = presence_.first_absent({at, range.end});
        if (!absent) break;
        at = std::max(at, absent->begin);
        const auto piece = loose.find(at / Presence::kPage * Presence::kPage);
        if (piece == loose.end())
            return ByteRange{at / Presence::kPage * Presence::kPage, absent->end};
        at = piece->first + piece->second.size();
    }
    return std::nullopt;
}

/// What is here, and what is not from those, which have it.
int InstantFile::read_all(ByteRange range, const Loose& loose, std::string& content) {
    if (const int error = usable(); error != 0) return error;
    const auto size = static_cast<std::size_t>(range.end - range.begin);
    if (const int error = lower_->read(range.begin, size, content); error != 0) return error;
    for (std::uint64_t at = range.begin; at < range.end;) {
        const auto absent = presence_.first_absent({at, range.end});
        if (!absent) break;
        at = std::max(at, absent->begin);
        const auto piece = loose.find(at / Presence::kPage * Presence::kPage);
        const std::uint64_t end =
            std::min({absent->end, range.end, piece->first + piece->second.size()});
        content.replace(at - range.begin, end - at, piece->second, at - piece->first, end - at);
        at = end;
    }
    return 0;
}

int InstantFile::read(std::uint64_t offset, std::size_t size, const fuse::Interrupted& interrupted,
                      std::string& content) {
    content.clear();
    Loose loose;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (lost_) return EIO;
        if (offset >= size_bytes_) return 0;
        const ByteRange range{offset, std::min<std::uint64_t>(size_bytes_, offset + size)};
        auto missing = first_missing(range, loose);
        if (!missing) return read_all(range, loose, content);
        std::string fetched;
        const int failed = get(*missing, fetch_, interrupted, lock, fetched);
        if (failed == EAGAIN) continue;
        if (failed != 0) return failed;
        const bool has_room = !has_room_ || has_room_();
        const int error = has_room ? put_down(missing->begin, fetched) : ENOSPC;
        if (error == 0) continue;
        // A full disk keeps nobody from reading: next time it is fetched again.
        if (error != ENOSPC && error != EDQUOT) return error;
        for (std::size_t at = 0; at < fetched.size(); at += Presence::kPage)
            loose[missing->begin + at] = fetched.substr(at, Presence::kPage);
    }
}

int InstantFile::write(std::uint64_t offset, std::string_view content,
                       const fuse::Interrupted& interrupted) {
    if (content.empty()) return 0;
    const ByteRange range{offset, offset + content.size()};
    std::unique_lock lock(mutex_);
    const auto write_it = [&] {
        while (const auto needed = presence_.needed_to_write(range)) {
            if (lost_) return EIO;
            if (const int error = take(*needed, fetch_, interrupted, lock); error != 0)
                return error;
        }
        if (const int error = usable(); error != 0) return error;
        written_ = true;
        return lower_->write(offset, content);
    };
    if (const int error = write_it(); error != 0) {
        // The kernel has told the server already that it is written. Interrupted: the mount ends.
        if (error != EINTR) lose();
        return error;
    }
    add(range);
    size_bytes_ = std::max<std::uint64_t>(size_bytes_, range.end);
    return 0;
}

/// In the table first. When that fails nobody knows which of both is there.
int InstantFile::cut_durably(std::uint64_t size_bytes) {
    const std::string_view first = std::string_view(stored_).substr(0, kBitBytes);
    if (table_->store(entry_, 0, size_bytes, /*cut=*/true, first, stored_version_) != 0 ||
        table_->sync() != 0)
        return lose();
    cut_ = true;
    ++cuts_;
    return 0;
}

int InstantFile::resize(std::uint64_t size_bytes) {
    const std::lock_guard lock(mutex_);
    if (const int error = usable(); error != 0) return error;
    // Where all is noted to be the file's own nobody asks what the limit is.
    const bool is_cut = size_bytes < presence_.limit() && !settle();
    if (is_cut)
        if (const int error = cut_durably(size_bytes); error != 0) return error;
    written_ = true;
    if (const int error = lower_->resize(size_bytes); error != 0) {
        if (is_cut) lose();
        return error;
    }
    presence_.cut(size_bytes);
    size_bytes_ = size_bytes;
    return 0;
}

int InstantFile::allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size) {
    const std::lock_guard lock(mutex_);
    if (const int error = usable(); error != 0) return error;
    if (const int error = lower_->allocate(offset, size_bytes, keep_size); error != 0) return error;
    written_ = true;
    if (!keep_size) size_bytes_ = std::max<std::uint64_t>(size_bytes_, offset + size_bytes);
    return 0;
}

InstantFile::Due InstantFile::due_now() const {
    Due due;
    due.cuts = cuts_;
    for (std::size_t sector = 0; sector < due_.size(); ++sector)
        if (due_[sector] || (sector == 0 && cut_))
            due.sectors.emplace_back(sector, bits_of(presence_, sector));
    return due;
}

InstantFile::Due InstantFile::due() const {
    const std::lock_guard lock(mutex_);
    return due_now();
}

int InstantFile::store(const Due& due) {
    const std::lock_guard lock(mutex_);
    if (lost_) return EIO;
    if (table_ == nullptr) return 0;
    const bool cut = cut_ && due.cuts != cuts_;
    for (const auto& [sector, bits] : due.sectors) {
        const std::size_t at = sector * kBitBytes;
        for (std::size_t i = 0; i < kBitBytes; ++i)
            stored_[at + i] = static_cast<char>(stored_[at + i] | bits[i]);
        const std::string_view now = std::string_view(stored_).substr(at, kBitBytes);
        if (const int error =
                table_->store(entry_, sector, presence_.limit(), cut, now, stored_version_);
            error != 0)
            return error;
        // What came meanwhile is not durable.
        if (due_[sector] && bits_of(presence_, sector) == bits) {
            due_[sector] = false;
            --due_count_;
        }
    }
    cut_ = cut;
    return 0;
}

bool InstantFile::is_table_synced() const {
    const std::lock_guard lock(mutex_);
    return table_ == nullptr || table_->is_synced(stored_version_);
}

int InstantFile::sync() {
    const std::lock_guard one(syncing_);
    Due now;
    std::shared_ptr<LowerFile> lower;
    PresenceTable* table = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (lost_) return EIO;
        if (!written_) return 0;
        if (const int error = usable(); error != 0) return error;
        now = due_now();
        lower = lower_;
        table = settle() ? nullptr : table_;
        written_ = false;
    }
    int error = lower->sync();
    if (error == 0 && table != nullptr) {
        error = store(now);
        // Also what somebody else has stored of it, and not synced.
        if (error == 0 && !is_table_synced()) error = table->sync();
    }
    if (error == 0) return 0;
    const std::lock_guard lock(mutex_);
    return lose();
}

int InstantFile::complete_some(ByteRange range, const Fetch& fetch,
                               const fuse::Interrupted& interrupted, bool& all) {
    std::unique_lock lock(mutex_);
    if (lost_) return EIO;
    if (const auto absent = presence_.first_absent(range))
        if (const int error = take(*absent, fetch, interrupted, lock); error != 0) return error;
    all = !presence_.first_absent(range);
    if (!all || usable() != 0) return 0;
    // The sync at the end would else begin with everything.
    const std::shared_ptr<LowerFile> lower = lower_;
    lock.unlock();
    lower->start_write_back(range.begin, range.end);
    return 0;
}

std::uint64_t InstantFile::missing_bytes() const {
    const std::lock_guard lock(mutex_);
    return presence_.absent_pages() * Presence::kPage;
}

bool InstantFile::settled() {
    const std::lock_guard lock(mutex_);
    return settle();
}

void InstantFile::rest() {
    const std::lock_guard lock(mutex_);
    if (!written_) lower_ = nullptr;
}

}  // namespace chronos::ops::mount
