#pragma once

#include <sys/types.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/base/owner_name.h"
#include "chronos/base/result.h"
#include "chronos/base/shared_text.h"
#include "chronos/compress/compress.h"
#include "chronos/io/stream.h"

namespace chronos::repo {

enum class BackupType { full, diff, incr };
std::string_view backup_type_name(BackupType type);
std::optional<BackupType> parse_backup_type(std::string_view name);

/// None where the id had no name (written as false).
using chronos::OwnerName;

/// Page numbers of a relation, both ends included.
using PageRange = std::pair<std::uint64_t, std::uint64_t>;

/// A SHA-1, or none: the 20 bytes of what a text has as 40 hexadecimal digits, for a manifest holds
/// two of them a file. It is made from such a text or an empty one; any other is a broken
/// invariant.
class Sha1Text {
public:
    Sha1Text() = default;
    template <std::convertible_to<std::string_view> Text>
    requires(!std::same_as<Text, Sha1Text>) Sha1Text(const Text& text) {
        assign(text);
    }  // NOLINT: implicit

    bool empty() const { return !set_; }
    /// Hexadecimal digits, or "".
    std::string str() const;
    operator std::string() const { return str(); }
    bool operator==(const Sha1Text&) const = default;
    template <std::convertible_to<std::string_view> Text>
    requires(!std::same_as<Text, Sha1Text>) bool operator==(const Text& text) const {
        return str() == std::string_view(text);
    }

private:
    void assign(std::string_view text);
    std::array<std::byte, 20> digest_{};
    bool set_ = false;
};

/// The bad pages of a file; most files have none, and then it is the size of a pointer.
class PageRanges {
public:
    PageRanges() = default;
    PageRanges(std::initializer_list<PageRange> ranges);  // NOLINT: implicit
    PageRanges(const PageRanges& other);
    PageRanges(PageRanges&&) noexcept = default;
    PageRanges& operator=(const PageRanges& other);
    PageRanges& operator=(PageRanges&&) noexcept = default;
    ~PageRanges() = default;

    void emplace_back(std::uint64_t first, std::uint64_t last);
    bool empty() const { return !ranges_; }
    const PageRange* begin() const { return ranges_ ? ranges_->data() : nullptr; }
    const PageRange* end() const { return ranges_ ? ranges_->data() + ranges_->size() : nullptr; }
    const PageRange& front() const { return ranges_->front(); }
    bool operator==(const PageRanges& other) const;

private:
    std::unique_ptr<std::vector<PageRange>> ranges_;  ///< null rather than empty
};

/// A file of a backup. There are hundreds of thousands of them in memory, so the members are in an
/// order that leaves no gaps. Source: docs/format/manifest.md, Files.
struct ManifestFile {
    SharedText name;                  ///< "pg_data/..." or "pg_tblspc/<oid>/..."
    std::uint64_t size = 0;           ///< bytes copied
    std::uint64_t size_original = 0;  ///< bytes when the file list was made ("szo")
    UnixTime timestamp = 0;           ///< mtime when the file list was made
    std::uint64_t repo_size = 0;      ///< stored bytes; equals size when "repo-size" is absent
    SharedText reference;             ///< label of the backup that stores it; "" for this one
    std::uint64_t bundle_id = 0;      ///< 0: a file of its own
    std::uint64_t bundle_offset = 0;
    std::uint64_t block_map_size = 0;  ///< stored bytes ("bim"); set: block incremental
    PageRanges page_error_ranges;
    OwnerName user;
    OwnerName group;
    Sha1Text checksum;          ///< of the content; empty while not known
    Sha1Text repo_checksum;     ///< of the stored bytes ("rck"); empty if absent
    bool page_checked = false;  ///< has "checksum-page"
    bool page_error = false;    ///< "checksum-page":false
    mode_t mode = 0600;
    std::uint32_t block_size = 0;           ///< bytes ("bi" x 8192); 0: none
    std::uint32_t block_checksum_size = 0;  ///< bytes ("bic", 6 when block_size is set without it)

    bool block_incremental() const { return block_map_size > 0; }
    bool bundled() const { return bundle_id != 0; }
    /// The recorded checksum, or the implicit one of a zero-size file.
    Sha1Text expected_checksum() const;
    bool operator==(const ManifestFile&) const = default;
};

struct ManifestPath {
    std::string name;
    mode_t mode = 0700;
    OwnerName user;
    OwnerName group;
    bool operator==(const ManifestPath&) const = default;
};

struct ManifestLink {
    std::string name;         ///< "pg_data/..."; tablespace links are "pg_data/pg_tblspc/<oid>"
    std::string destination;  ///< as stored, possibly relative to the directory of the link
    OwnerName user;
    OwnerName group;
    bool operator==(const ManifestLink&) const = default;
};

/// An entry of [backup:target]: the data directory, a tablespace, or a link inside PGDATA.
struct ManifestTarget {
    std::string name;  ///< "pg_data", "pg_data/<path>" or "pg_tblspc/<oid>"
    bool is_link = false;
    std::string path;
    std::string file;                  ///< file links: the base name of the destination
    std::uint32_t tablespace_oid = 0;  ///< 0: not a tablespace
    std::string tablespace_name;
    bool operator==(const ManifestTarget&) const = default;
};

struct ManifestDatabase {
    std::string name;
    std::uint32_t oid = 0;
    std::uint32_t last_system_oid = 0;
    bool operator==(const ManifestDatabase&) const = default;
};

/// Attributes that entries equal to them leave out.
struct ManifestDefaults {
    mode_t file_mode = 0600;
    mode_t path_mode = 0700;
    OwnerName user;
    OwnerName group;
    bool operator==(const ManifestDefaults&) const = default;
};

/// [backup:option]. Optional members are absent from partial and from old manifests.
struct ManifestOptions {
    bool archive_check = false;
    bool archive_copy = false;
    std::optional<bool> backup_standby;
    std::optional<std::uint64_t> buffer_size;
    std::optional<bool> checksum_page;
    compress::CompressType compress_type = compress::CompressType::none;
    std::optional<int> compress_level;
    std::optional<int> compress_level_network;
    bool delta = false;
    bool hardlink = false;
    bool online = true;
    std::optional<std::uint64_t> process_max;
    bool operator==(const ManifestOptions&) const = default;
};

/// backup.manifest as values. Files, paths and links are sorted by name (bytewise) as in the file.
struct Manifest {
    std::string backrest_version;
    std::string label;
    BackupType type = BackupType::full;
    std::string prior;                    ///< "" for a full backup
    std::vector<std::string> references;  ///< the chain, own label last; indexed by block maps
    UnixTime timestamp_start = 0;
    UnixTime timestamp_copy_start = 0;
    UnixTime timestamp_stop = 0;  ///< 0 in a partial manifest
    std::optional<Lsn> lsn_start;
    std::optional<Lsn> lsn_stop;
    std::string archive_start;  ///< WAL segment names; "" when offline or partial
    std::string archive_stop;
    bool bundle = false;
    bool bundle_raw = false;
    bool block_incr = false;

    std::uint32_t catalog_version = 0;
    std::uint32_t control_version = 0;
    std::uint64_t history_id = 0;  ///< "db-id"; 0 in a partial manifest
    std::uint64_t system_id = 0;
    std::string pg_version;  ///< "15"

    ManifestOptions options;
    std::string cipher_pass;  ///< of the set; "" in an unencrypted repository
    std::map<std::string, std::string> annotations;
    ManifestDefaults defaults;
    std::vector<ManifestTarget> targets;
    std::vector<ManifestDatabase> databases;
    std::vector<ManifestFile> files;
    std::vector<ManifestLink> links;
    std::vector<ManifestPath> paths;

    bool operator==(const Manifest&) const = default;

    const ManifestFile* find_file(std::string_view name) const;
    ManifestFile* find_file(std::string_view name);
    /// Sums over all files and over those this backup stores itself. Stored bytes of a file are
    /// repo_size if it is not 0, else size.
    struct Sizes {
        std::uint64_t size = 0, size_delta = 0, repo_size = 0, repo_size_delta = 0;
        std::uint64_t map_size = 0, map_size_delta = 0;
        bool has_maps = false;
    };
    Sizes sizes() const;
};

/// Strict where the format is: checksum, required members, types. Errors are of the kinds the
/// format's own reader uses (format, checksum, json_format) and name the offending key.
Result<Manifest> parse_manifest(std::string_view text);

/// The exact text, checksum included. parse(format(m)) == m, and format(parse(text)) == text for
/// every text pgBackRest wrote in format 5.
std::string format_manifest(const Manifest& manifest);
/// Writes that text piece by piece, because that of a large cluster is some megabytes; does not
/// finish the sink.
Result<> write_manifest(const Manifest& manifest, io::Sink& sink);

/// What a restore needs, whoever asks: every file has a checksum, its own or implicit, and
/// check_manifest_places(). Kind format otherwise.
Result<> validate_manifest(const Manifest& manifest);

/// Whether everything that the manifest lists lies below its own destinations and can be made
/// there: a backup may come from anywhere, and root restores it. Names are plain paths below the
/// data directory or a tablespace's directory of this version, each is there once and in a
/// directory that is there, and a link leads to where a target says, which is what a plan shows.
/// Kind format, with the name.
Result<> check_manifest_places(const Manifest& manifest);

/// The first file that is missing of those without which no server starts on what is restored; ""
/// if all are there, as in every backup of a server.
std::string_view missing_vital_file(const Manifest& manifest);

/// Whether the format can hold `name` as a file, path, link or database of a manifest: an entry is
/// one line, so a name with a line feed would make the whole manifest unreadable. Kind format.
Result<> check_manifest_name(std::string_view name);

}  // namespace chronos::repo
