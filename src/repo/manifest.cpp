#include "chronos/repo/manifest.h"

#include <algorithm>
#include <stdexcept>

#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"

namespace chronos::repo {
namespace {

constexpr std::size_t kMissingShown = 10;

template <class Files>
auto find_in(Files& files, std::string_view name) -> decltype(files.data()) {
    const auto at =
        std::lower_bound(files.begin(), files.end(), name,
                         // Not operator<: inside a template clang 14 cannot compile libstdc++'s.
                         [](const ManifestFile& file, std::string_view wanted) {
                             return file.name.view().compare(wanted) < 0;
                         });
    return at != files.end() && at->name == name ? &*at : nullptr;
}

}  // namespace

void Sha1Text::assign(std::string_view text) {
    const auto bytes = from_hex(text);
    if (!bytes || (!text.empty() && bytes->size() != digest_.size()))
        throw std::invalid_argument("a SHA-1 has 40 hexadecimal digits");
    std::ranges::copy(*bytes, digest_.begin());
    set_ = !text.empty();
}

std::string Sha1Text::str() const {
    return set_ ? to_hex(digest_) : std::string();
}

PageRanges::PageRanges(std::initializer_list<PageRange> ranges) {
    for (const auto& [first, last] : ranges) emplace_back(first, last);
}

PageRanges::PageRanges(const PageRanges& other)
    : ranges_(other.ranges_ ? std::make_unique<std::vector<PageRange>>(*other.ranges_) : nullptr) {}

PageRanges& PageRanges::operator=(const PageRanges& other) {
    return *this = PageRanges(other);
}

void PageRanges::emplace_back(std::uint64_t first, std::uint64_t last) {
    if (!ranges_) ranges_ = std::make_unique<std::vector<PageRange>>();
    ranges_->emplace_back(first, last);
}

bool PageRanges::operator==(const PageRanges& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
}

std::string_view backup_type_name(BackupType type) {
    switch (type) {
        case BackupType::full: return "full";
        case BackupType::diff: return "diff";
        case BackupType::incr: return "incr";
    }
    return "";
}

std::optional<BackupType> parse_backup_type(std::string_view name) {
    for (const BackupType type : {BackupType::full, BackupType::diff, BackupType::incr})
        if (name == backup_type_name(type)) return type;
    return std::nullopt;
}

Sha1Text ManifestFile::expected_checksum() const {
    return size == 0 ? Sha1Text(crypto::kSha1OfNothing) : checksum;
}

const ManifestFile* Manifest::find_file(std::string_view name) const {
    return find_in(files, name);
}

ManifestFile* Manifest::find_file(std::string_view name) {
    return find_in(files, name);
}

Manifest::Sizes Manifest::sizes() const {
    Sizes sums;
    sums.has_maps = block_incr;
    for (const ManifestFile& file : files) {
        const std::uint64_t stored = file.repo_size > 0 ? file.repo_size : file.size;
        sums.size += file.size;
        sums.repo_size += stored;
        sums.map_size += file.block_map_size;
        if (!file.reference.empty()) continue;
        sums.size_delta += file.size;
        sums.repo_size_delta += stored;
        sums.map_size_delta += file.block_map_size;
    }
    return sums;
}

Result<> validate_manifest(const Manifest& manifest) {
    std::string missing;
    std::size_t count = 0;
    for (const ManifestFile& file : manifest.files)
        if (file.expected_checksum().empty() && ++count <= kMissingShown)
            missing += "\nmissing checksum for file '" + printable(file.name) + "'";
    if (count == 0) return check_manifest_places(manifest);
    if (count > kMissingShown)
        missing += "\nand " + std::to_string(count - kMissingShown) + " more";
    return Error(ErrorKind::format, "manifest validation failed:" + missing);
}

std::string_view missing_vital_file(const Manifest& manifest) {
    for (const std::string_view name : {"PG_VERSION", "global/pg_control", "backup_label"}) {
        if (!manifest.options.online && name == "backup_label") continue;
        if (manifest.find_file("pg_data/" + std::string(name)) == nullptr) return name;
    }
    return "";
}

// An entry is one line, "<name>=<object>", and its name ends at the first '=' that leaves JSON.
// That cannot be one inside the name: what is behind it would have to hold the '=' in front of the
// object in a string, which the object's first quote ends, and then a word stands where none may.
// So any name can be read back that stays on its line; a NUL would end it for programs written in
// C.
Result<> check_manifest_name(std::string_view name) {
    constexpr std::string_view kEnds("\n\0", 2);
    if (!name.empty() && name.find_first_of(kEnds) == std::string_view::npos) return {};
    return Error(ErrorKind::format,
                 "name '" + printable(name) + "' cannot be stored: a manifest has one line a name")
        .with_hint("Rename it: an empty name, or one with a line feed, cannot be backed up.");
}

}  // namespace chronos::repo
