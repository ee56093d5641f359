#include "ops/mount/presence_table.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "chronos/base/error.h"
#include "chronos/crypto/hash.h"
#include "ops/mount/presence.h"

namespace chronos::ops::mount {
namespace {

// A sector: checksum of the rest, its own number, the file's number, the file's size, limit, flags,
// nothing, bits. Numbers are little-endian.
constexpr std::size_t kNumberAt = 8, kFileAt = 12, kSizeAt = 16, kLimitAt = 24, kFlagsAt = 32,
                      kBitsAt = PresenceTable::kSector - PresenceTable::kBitBytes;
constexpr std::uint32_t kCut = 1;
// The first sector has these in place of limit and flags.
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kNoFile = UINT32_MAX;
constexpr std::string_view kMagic = "chronos presence";
constexpr std::size_t kWrittenAtOnce = std::size_t{1} << 20;

void put(std::string& sector, std::size_t at, std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i)
        sector[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t get(std::string_view sector, std::size_t at, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
        value |= std::uint64_t{static_cast<unsigned char>(sector[at + i])} << (8 * i);
    return value;
}

std::uint64_t checksum_of(std::string_view sector) {
    const auto hash = crypto::xxh3_128(io::bytes(sector.substr(kNumberAt)));
    std::uint64_t value = 0;
    std::memcpy(&value, hash.data(), sizeof value);
    return value;
}

void seal(std::string& sector) {
    put(sector, 0, checksum_of(sector), 8);
}

Error damaged(const std::string& what) {
    return Error(ErrorKind::format,
                 "what is known of the files that are not whole is damaged: " + what)
        .with_hint("Restore the backup again.");
}

}  // namespace

PresenceTable::PresenceTable(std::unique_ptr<LowerFile> file, std::uint64_t id,
                             std::vector<File> files)
    : lower_(std::move(file)), id_(id), files_(std::move(files)) {
    for (const File& of : files_) {
        first_sectors_.push_back(sector_count_);
        sector_count_ += sector_count(of);
    }
}

std::size_t PresenceTable::sector_count(const File& file) {
    constexpr std::uint64_t kBytes = kPages * Presence::kPage;
    return std::max<std::size_t>(1,
                                 static_cast<std::size_t>((file.size_bytes + kBytes - 1) / kBytes));
}

/// Of which files it is, in which order, and of which mount.
std::string PresenceTable::header() const {
    std::string all;
    for (const File& file : files_) {
        std::string one(12, '\0');
        put(one, 0, file.number, 4);
        put(one, 4, file.size_bytes, 8);
        all += one;
    }
    std::string sector(kSector, '\0');
    put(sector, kFileAt, kNoFile, 4);
    put(sector, kSizeAt, id_, 8);
    put(sector, kLimitAt, files_.size(), 8);
    put(sector, kFlagsAt, kVersion, 4);
    sector.replace(kBitsAt, kMagic.size(), kMagic);
    const auto hash = crypto::xxh3_128(io::bytes(all));
    std::memcpy(sector.data() + kBitsAt + kMagic.size(), hash.data(), hash.size());
    seal(sector);
    return sector;
}

std::string PresenceTable::format(std::size_t entry, std::size_t sector, std::uint64_t limit,
                                  bool cut, std::string_view bits) const {
    std::string text(kSector, '\0');
    put(text, kNumberAt, first_sectors_[entry] + sector, 4);
    put(text, kFileAt, files_[entry].number, 4);
    put(text, kSizeAt, files_[entry].size_bytes, 8);
    if (sector == 0) {
        put(text, kLimitAt, limit, 8);
        put(text, kFlagsAt, cut ? kCut : 0, 4);
    }
    text.replace(kBitsAt, bits.size(), bits);
    seal(text);
    return text;
}

Result<std::unique_ptr<PresenceTable>> PresenceTable::make(std::unique_ptr<LowerFile> file,
                                                           std::uint64_t id,
                                                           std::vector<File> files) {
    std::unique_ptr<PresenceTable> table(new PresenceTable(std::move(file), id, std::move(files)));
    std::string text = table->header();
    std::uint64_t at = 0;
    const auto write = [&]() -> Result<> {
        if (const int error = table->lower_->write(at, text); error != 0)
            return system_error(ErrorKind::file_write, "note which files are not whole", error);
        at += text.size();
        text.clear();
        return {};
    };
    for (std::size_t entry = 0; entry < table->files_.size(); ++entry)
        for (std::size_t sector = 0; sector < sector_count(table->files_[entry]); ++sector) {
            text += table->format(entry, sector, table->files_[entry].size_bytes, false, {});
            if (text.size() >= kWrittenAtOnce) CHRONOS_TRY(write());
        }
    CHRONOS_TRY(write());
    if (const int error = table->sync(); error != 0)
        return system_error(ErrorKind::file_sync, "note which files are not whole", error);
    return table;
}

Result<std::unique_ptr<PresenceTable>> PresenceTable::open(std::unique_ptr<LowerFile> file,
                                                           std::uint64_t id,
                                                           std::vector<File> files) {
    std::unique_ptr<PresenceTable> table(new PresenceTable(std::move(file), id, std::move(files)));
    std::string text;
    if (const int error = table->lower_->read(0, kSector, text); error != 0)
        return system_error(ErrorKind::file_read, "read which files are not whole", error);
    if (text != table->header()) return damaged("it is of another restore");
    std::uint64_t size = 0;
    if (table->lower_->size(size) != 0 || size != table->sector_count_ * kSector)
        return damaged("it has not the size that it must have");
    return table;
}

Result<PresenceTable::Kept> PresenceTable::load(std::size_t entry) const {
    const File& file = files_[entry];
    const std::size_t count = sector_count(file);
    std::string text;
    {
        const std::lock_guard lock(mutex_);
        const int error = lower_->read(first_sectors_[entry] * kSector, count * kSector, text);
        if (error != 0)
            return system_error(ErrorKind::file_read, "read which files are not whole", error);
    }
    Kept kept;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string_view sector = std::string_view(text).substr(i * kSector, kSector);
        if (get(sector, 0, 8) != checksum_of(sector) ||
            get(sector, kNumberAt, 4) != first_sectors_[entry] + i ||
            get(sector, kFileAt, 4) != file.number || get(sector, kSizeAt, 8) != file.size_bytes)
            return damaged("sector " + std::to_string(first_sectors_[entry] + i) +
                           " is not what was written");
        if (i == 0) {
            kept.limit = get(sector, kLimitAt, 8);
            kept.cut = (get(sector, kFlagsAt, 4) & kCut) != 0;
            if (kept.limit > file.size_bytes)
                return damaged("file " + std::to_string(file.number) + " was never so long");
        }
        kept.bits += sector.substr(kBitsAt);
    }
    return kept;
}

int PresenceTable::store(std::size_t entry, std::size_t sector, std::uint64_t limit, bool cut,
                         std::string_view bits, std::uint64_t& version) {
    const std::string text = format(entry, sector, limit, cut, bits);
    const std::lock_guard lock(mutex_);
    if (lost_) return EIO;
    version = ++stored_version_;
    return lower_->write((first_sectors_[entry] + sector) * kSector, text);
}

int PresenceTable::sync() {
    std::uint64_t version = 0;
    {
        const std::lock_guard lock(mutex_);
        if (lost_) return EIO;
        version = stored_version_;
    }
    const int error = lower_->sync();
    const std::lock_guard lock(mutex_);
    if (error != 0) {
        lost_ = true;
        return error;
    }
    synced_version_ = std::max(synced_version_, version);
    return 0;
}

bool PresenceTable::is_synced(std::uint64_t version) const {
    const std::lock_guard lock(mutex_);
    return version <= synced_version_;
}

}  // namespace chronos::ops::mount
