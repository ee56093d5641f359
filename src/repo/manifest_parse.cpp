// Reads the text of a manifest: docs/format/manifest.md.
//
// A manifest may have a million files, and a gigabyte. So it is read once, as a stream of pieces
// (feed), without a tree of JSON: IniReader cuts lines, JsonReader walks a value, and each key
// writes into its member. A section chooses the handler of its lines; of what no handler knows
// nothing is said, since later releases add keys.
//
// Two things cannot be decided line by line. Defaults (user, group, mode) stand behind the list
// that they are for: a `due` byte for each entry remembers which of them it lacks, and
// resolve_defaults() gives them at the end. And what an entry leaves out follows from the others of
// the same line (repo-size = size, ...): complete_file() at its end.
//
// The same reader proves what is about to be stored (parser made from `meant`): each entry is
// compared with the one that was meant as soon as it is complete, and dropped, so that the proof
// costs time and no memory. MeantList has the order in which entries are written, which is that of
// names; members that say nothing without another one are dropped on both sides
// (drop_mute_members), so that a value has one text and a text one value.
//
// Names of files are a stranger's: one that leaves the backup ("..", an absolute path) is an error
// here, in the one place where every name comes by.
#include <algorithm>
#include <limits>
#include <set>
#include <unordered_map>

#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/repository.h"
#include "repo/ini_text.h"
#include "repo/json_text.h"
#include "repo/manifest_sink.h"
#include "repo/manifest_text.h"

namespace chronos::repo {
namespace {

/// Attributes that an entry does not carry come from a default section, which stands behind the
/// list: until it is read we remember what is due.
enum Due : unsigned char { kDueUser = 1, kDueGroup = 2, kDueMode = 4, kDueAll = 7 };

struct Defaults {
    mode_t mode = 0;
    OwnerName user;
    OwnerName group;
};

template <class Entry>
void apply_defaults(const Defaults& defaults, unsigned char due, Entry& entry) {
    if (due & kDueUser) entry.user = defaults.user;
    if (due & kDueGroup) entry.group = defaults.group;
    if constexpr (requires { entry.mode; })
        if (due & kDueMode) entry.mode = defaults.mode;
}

Error bad_value(const IniEntry& entry, std::string_view why) {
    return value_error(entry, Error(ErrorKind::format, std::string(why)));
}

/// Inside a backup, and nowhere else once it is joined to a directory.
bool is_manifest_name(std::string_view name) {
    const std::vector<std::string_view> parts = split(name, '/');
    if (parts[0] != "pg_data" && parts[0] != "pg_tblspc") return false;
    return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
        return part.empty() || part == "." || part == "..";
    });
}

OwnerName read_owner(JsonReader& reader) {
    if (reader.peek() == '"') return reader.string();
    if (reader.boolean()) reader.fail("expected a name or false");
    return std::nullopt;
}

mode_t parse_mode(std::string_view text, JsonReader& reader) {
    mode_t mode = 0;
    for (const char c : text) mode = mode * 8 + static_cast<mode_t>(c - '0');
    const bool octal = text.find_first_not_of("01234567") == std::string_view::npos;
    if (!octal || text.size() < 3 || text.size() > 5) reader.fail("expected an octal mode");
    return mode;
}

Sha1Text read_sha1(JsonReader& reader) {
    const std::string text = reader.string();
    const bool digits = text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (digits && text.size() == 40) return Sha1Text(text);
    reader.fail("expected a SHA-1 of 40 hexadecimal digits");
    return {};
}

std::uint32_t read_uint32(JsonReader& reader, std::uint32_t unit = 1) {
    const std::uint64_t value = reader.number();
    if (value > UINT32_MAX / unit) reader.fail("number is too large");
    return static_cast<std::uint32_t>(value) * unit;
}

PageRanges read_page_errors(JsonReader& reader) {
    PageRanges ranges;
    for (reader.begin_array(); reader.next_item();) {
        if (reader.peek() != '[') {
            const std::uint64_t page = reader.number();
            ranges.emplace_back(page, page);
            continue;
        }
        std::vector<std::uint64_t> ends;
        for (reader.begin_array(); reader.next_item();) ends.push_back(reader.number());
        if (ends.size() != 2 || ends[0] > ends[1])
            reader.fail("expected the first and the last page of a range");
        else
            ranges.emplace_back(ends[0], ends[1]);
    }
    return ranges;
}

/// The members of a file entry that the reader must know about as a whole.
struct FileState {
    unsigned char due = kDueAll;
    bool size = false;
    bool size_original = false;
    bool repo_size = false;
    bool timestamp = false;
};

bool read_file_owner(JsonReader& reader, std::string_view key, ManifestFile& file,
                     FileState& state) {
    if (key == "user") {
        file.user = read_owner(reader);
        state.due &= static_cast<unsigned char>(~kDueUser);
    } else if (key == "group") {
        file.group = read_owner(reader);
        state.due &= static_cast<unsigned char>(~kDueGroup);
    } else if (key == "mode") {
        file.mode = parse_mode(reader.string(), reader);
        state.due &= static_cast<unsigned char>(~kDueMode);
    } else {
        return false;
    }
    return true;
}

bool read_file_storage(JsonReader& reader, std::string_view key, ManifestFile& file) {
    if (key == "bi")
        file.block_size = read_uint32(reader, kBlockSizeUnit);
    else if (key == "bic")
        file.block_checksum_size = read_uint32(reader);
    else if (key == "bim")
        file.block_map_size = reader.number();
    else if (key == "bni")
        file.bundle_id = reader.number();
    else if (key == "bno")
        file.bundle_offset = reader.number();
    else if (key == "rck")
        file.repo_checksum = read_sha1(reader);
    else if (key == "reference")
        file.reference = reader.string();
    else
        return false;
    return true;
}

bool read_file_content(JsonReader& reader, std::string_view key, ManifestFile& file,
                       FileState& state) {
    if (key == "size") {
        file.size = reader.number();
        state.size = true;
    } else if (key == "szo") {
        file.size_original = reader.number();
        state.size_original = true;
    } else if (key == "repo-size") {
        file.repo_size = reader.number();
        state.repo_size = true;
    } else if (key == "timestamp") {
        file.timestamp = reader.signed_number();
        state.timestamp = true;
    } else if (key == "checksum") {
        file.checksum = read_sha1(reader);
    } else if (key == "checksum-page") {
        file.page_checked = true;
        file.page_error = !reader.boolean();
    } else if (key == "checksum-page-error") {
        file.page_error_ranges = read_page_errors(reader);
    } else {
        return false;
    }
    return true;
}

/// Members that say nothing without another one do not survive, whoever has set them: so a value
/// has one text, and a text one value.
void drop_mute_members(ManifestFile& file) {
    if (file.size == 0) file.checksum = {};
    if (file.bundle_id == 0) file.bundle_offset = 0;
    if (file.block_size == 0)
        file.block_checksum_size = 0;
    else if (file.block_checksum_size == 0)
        file.block_checksum_size = kBlockChecksumSizeDefault;
    if (!file.page_checked) file.page_error = false;
}

/// What the entry leaves out because it follows from the rest; and that the rest fits together.
void complete_file(JsonReader& reader, const FileState& state, ManifestFile& file) {
    if (!state.size) reader.fail("missing 'size'");
    if (!state.timestamp) reader.fail("missing 'timestamp'");
    if (!state.size_original) file.size_original = file.size;
    if (!state.repo_size) file.repo_size = file.size;
    drop_mute_members(file);
    if (file.block_map_size != 0 && file.block_size == 0) reader.fail("'bim' without 'bi'");
    if (file.block_map_size > file.repo_size) reader.fail("'bim' is larger than 'repo-size'");
    if (!file.reference.empty() && !is_backup_label(file.reference))
        reader.fail("'reference' is not a backup label");
}

Error not_as_meant(std::string_view what) {
    return Error(ErrorKind::format, std::string(what) + " does not read back as what was meant");
}

bool is_as_meant(const ManifestFile& read, const ManifestFile& meant) {
    if (read == meant) return true;
    ManifestFile left = meant;
    drop_mute_members(left);
    return read == left;
}
template <class Entry>
bool is_as_meant(const Entry& read, const Entry& meant) {
    return read == meant;
}

/// The entries of a list that was meant, in the order in which they are written.
template <class Entry>
class MeantList {
public:
    void set(const std::vector<Entry>& entries) {
        entries_ = &entries;
        const auto less = [](const Entry& a, const Entry& b) { return a.name < b.name; };
        if (std::is_sorted(entries.begin(), entries.end(), less)) return;
        sorted_ = entries;
        std::stable_sort(sorted_.begin(), sorted_.end(), less);
        entries_ = &sorted_;
    }
    Result<> compare(const Entry& read) {
        if (next_ >= entries_->size() || !is_as_meant(read, (*entries_)[next_]))
            return not_as_meant("the entry of '" + printable(read.name) + "'");
        ++next_;
        return {};
    }
    Result<> finish() const {
        if (next_ == entries_->size()) return {};
        return not_as_meant("the entry of '" + printable((*entries_)[next_].name) + "'");
    }

private:
    const std::vector<Entry>* entries_ = nullptr;
    std::vector<Entry> sorted_;
    std::size_t next_ = 0;
};

/// What a text is compared with instead of being kept.
struct Meant {
    explicit Meant(const Manifest& meant) : manifest(meant) {
        targets.set(meant.targets);
        databases.set(meant.databases);
        files.set(meant.files);
        links.set(meant.links);
        paths.set(meant.paths);
    }
    const Manifest& manifest;
    MeantList<ManifestTarget> targets;
    MeantList<ManifestDatabase> databases;
    MeantList<ManifestFile> files;
    MeantList<ManifestLink> links;
    MeantList<ManifestPath> paths;
};

class ManifestParser {
public:
    ManifestParser() = default;
    explicit ManifestParser(std::string_view text) : ini_(text) {}
    explicit ManifestParser(const Manifest& meant) : meant_(meant) {}
    void feed(std::string_view piece);
    /// What was wrong with it.
    const Result<>& fed() const { return result_; }
    /// All has been fed.
    Result<Manifest> parse();
    /// The same, of a parser that compares.
    Result<> compare();

private:
    using Handler = Result<> (ManifestParser::*)(const IniEntry&);
    static Handler handler_of(std::string_view section);

    Result<> read_entries();
    Result<> read_setting(const IniEntry& entry);
    Result<> read_target(const IniEntry& entry);
    Result<> read_database(const IniEntry& entry);
    Result<> read_metadata(const IniEntry& entry);
    Result<> read_file(const IniEntry& entry);
    Result<> read_file_default(const IniEntry& entry) { return read_default(entry, file_); }
    Result<> read_link(const IniEntry& entry);
    Result<> read_link_default(const IniEntry& entry) { return read_default(entry, link_); }
    Result<> read_path(const IniEntry& entry);
    Result<> read_path_default(const IniEntry& entry) { return read_default(entry, path_); }
    static Result<> read_default(const IniEntry& entry, Defaults& defaults);
    template <class Entry>
    Result<> compare_last(std::vector<Entry>& list, MeantList<Entry> Meant::*meant);
    template <class Entry>
    Result<> compare_last(std::vector<Entry>& list, std::vector<unsigned char>& due,
                          const Defaults& defaults, MeantList<Entry> Meant::*meant);
    Result<> compare_defaults() const;
    Result<> complete();
    void resolve_defaults();
    Result<> sort_lists();
    void collect_references();

    IniReader ini_;
    Result<> result_;  ///< of what was fed
    std::string section_;
    Handler handler_ = nullptr;
    std::optional<Meant> meant_;
    bool has_data_target_ = false;
    Manifest manifest_;
    std::vector<unsigned char> file_due_, link_due_, path_due_;  ///< parallel to the lists
    Defaults file_{ManifestDefaults().file_mode, {}, {}};
    Defaults link_;
    Defaults path_{ManifestDefaults().path_mode, {}, {}};
};

// --- single settings: [backup], [backup:db], [backup:option], [cipher]

using Setter = Result<> (*)(Manifest&, const IniEntry&);

template <auto Member>
Result<> set_string(Manifest& manifest, const IniEntry& entry) {
    manifest.*Member = CHRONOS_TRY(string_value(entry));
    return {};
}

template <auto Member>
Result<> set_number(Manifest& manifest, const IniEntry& entry) {
    using Value = std::remove_reference_t<decltype(manifest.*Member)>;
    const std::uint64_t value = CHRONOS_TRY(number_value(entry));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<Value>::max()))
        return bad_value(entry, "number is too large");
    manifest.*Member = static_cast<Value>(value);
    return {};
}

template <auto Member>
Result<> set_bool(Manifest& manifest, const IniEntry& entry) {
    manifest.*Member = CHRONOS_TRY(bool_value(entry));
    return {};
}

template <auto Member>
Result<> set_lsn(Manifest& manifest, const IniEntry& entry) {
    manifest.*Member = Lsn::parse(CHRONOS_TRY(string_value(entry)));
    if (!(manifest.*Member)) return bad_value(entry, "expected an LSN");
    return {};
}

template <auto Member>
Result<> set_option_bool(Manifest& manifest, const IniEntry& entry) {
    manifest.options.*Member = CHRONOS_TRY(bool_value(entry));
    return {};
}

template <auto Member>
Result<> set_option_number(Manifest& manifest, const IniEntry& entry) {
    manifest.options.*Member = CHRONOS_TRY(number_value(entry));
    return {};
}

/// The signed level that was stored as an unsigned 32-bit number.
template <auto Member>
Result<> set_option_level(Manifest& manifest, const IniEntry& entry) {
    const std::uint64_t value = CHRONOS_TRY(number_value(entry));
    if (value > UINT32_MAX) return bad_value(entry, "number is too large");
    manifest.options.*Member = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    return {};
}

template <auto Member>
Result<> set_time(Manifest& manifest, const IniEntry& entry) {
    JsonReader reader(entry.value);
    manifest.*Member = reader.time();
    if (!reader.finished()) return value_error(entry, reader.error());
    return {};
}

template <auto Member>
Result<> set_segment(Manifest& manifest, const IniEntry& entry) {
    std::string segment = CHRONOS_TRY(string_value(entry));
    if (!pgdata::is_wal_segment(segment))
        return bad_value(entry, "expected the name of a WAL segment");
    manifest.*Member = std::move(segment);
    return {};
}

Result<> set_label(Manifest& manifest, const IniEntry& entry) {
    manifest.label = CHRONOS_TRY(string_value(entry));
    if (!is_backup_label(manifest.label)) return bad_value(entry, "expected a backup label");
    return {};
}

Result<> set_prior(Manifest& manifest, const IniEntry& entry) {
    manifest.prior = CHRONOS_TRY(string_value(entry));
    if (!is_backup_label(manifest.prior)) return bad_value(entry, "expected a backup label");
    return {};
}

Result<> set_references(Manifest& manifest, const IniEntry& entry) {
    const std::string chain = CHRONOS_TRY(string_value(entry));
    for (const std::string_view label : split(chain, ',')) {
        if (!is_backup_label(label)) return bad_value(entry, "expected backup labels");
        manifest.references.emplace_back(label);
    }
    return {};
}

Result<> set_type(Manifest& manifest, const IniEntry& entry) {
    const auto type = parse_backup_type(CHRONOS_TRY(string_value(entry)));
    if (!type) return bad_value(entry, "expected full, diff or incr");
    manifest.type = *type;
    return {};
}

/// Alone, in very old manifests, it decides between gz and none; otherwise the type follows it.
Result<> set_compress(Manifest& manifest, const IniEntry& entry) {
    manifest.options.compress_type =
        CHRONOS_TRY(bool_value(entry)) ? compress::CompressType::gz : compress::CompressType::none;
    return {};
}

Result<> set_compress_type(Manifest& manifest, const IniEntry& entry) {
    const auto type = compress::parse_compress_type(CHRONOS_TRY(string_value(entry)));
    if (!type) return bad_value(entry, "unknown compression");
    manifest.options.compress_type = *type;
    return {};
}

using Setters = std::unordered_map<std::string_view, Setter>;

const Setters& setters() {
    using M = Manifest;
    using O = ManifestOptions;
    static const Setters kSetters = {
        {"backup-archive-start", set_segment<&M::archive_start>},
        {"backup-archive-stop", set_segment<&M::archive_stop>},
        {"backup-block-incr", set_bool<&M::block_incr>},
        {"backup-bundle", set_bool<&M::bundle>},
        {"backup-bundle-raw", set_bool<&M::bundle_raw>},
        {"backup-label", set_label},
        {"backup-lsn-start", set_lsn<&M::lsn_start>},
        {"backup-lsn-stop", set_lsn<&M::lsn_stop>},
        {"backup-prior", set_prior},
        {"backup-reference", set_references},
        {"backup-timestamp-copy-start", set_time<&M::timestamp_copy_start>},
        {"backup-timestamp-start", set_time<&M::timestamp_start>},
        {"backup-timestamp-stop", set_time<&M::timestamp_stop>},
        {"backup-type", set_type},
        {"db-catalog-version", set_number<&M::catalog_version>},
        {"db-control-version", set_number<&M::control_version>},
        {"db-id", set_number<&M::history_id>},
        {"db-system-id", set_number<&M::system_id>},
        {"db-version", set_string<&M::pg_version>},
        {"option-archive-check", set_option_bool<&O::archive_check>},
        {"option-archive-copy", set_option_bool<&O::archive_copy>},
        {"option-backup-standby", set_option_bool<&O::backup_standby>},
        {"option-buffer-size", set_option_number<&O::buffer_size>},
        {"option-checksum-page", set_option_bool<&O::checksum_page>},
        {"option-compress", set_compress},
        {"option-compress-level", set_option_level<&O::compress_level>},
        {"option-compress-level-network", set_option_level<&O::compress_level_network>},
        {"option-compress-type", set_compress_type},
        {"option-delta", set_option_bool<&O::delta>},
        {"option-hardlink", set_option_bool<&O::hardlink>},
        {"option-online", set_option_bool<&O::online>},
        {"option-process-max", set_option_number<&O::process_max>},
        {kCipherPassKey, set_string<&M::cipher_pass>},
    };
    return kSetters;
}

Result<> ManifestParser::read_setting(const IniEntry& entry) {
    const auto setter = setters().find(entry.key);
    if (setter == setters().end()) return {};
    return setter->second(manifest_, entry);
}

// --- lists

Result<> ManifestParser::read_target(const IniEntry& entry) {
    ManifestTarget target;
    target.name = entry.key;
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == "file")
            target.file = reader.string();
        else if (key == "path")
            target.path = reader.string();
        else if (key == "tablespace-name")
            target.tablespace_name = reader.string();
        else if (key == "type")
            target.is_link = reader.string() == "link";
        else if (key == "tablespace-id") {
            const auto oid = parse_uint(reader.string());
            if (!oid || *oid > UINT32_MAX) reader.fail("expected an oid");
            target.tablespace_oid = static_cast<std::uint32_t>(oid.value_or(0));
        } else
            reader.skip();
    }
    if (target.tablespace_oid == 0) target.tablespace_name.clear();
    if (target.path.empty()) reader.fail("missing 'path'");
    if (!is_manifest_name(entry.key)) reader.fail("not a name inside a backup");
    if (!reader.finished()) return value_error(entry, reader.error());
    if (target.name == "pg_data") has_data_target_ = true;
    manifest_.targets.push_back(std::move(target));
    return compare_last(manifest_.targets, &Meant::targets);
}

Result<> ManifestParser::read_database(const IniEntry& entry) {
    ManifestDatabase database;
    database.name = entry.key;
    bool has_oid = false;
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == "db-id") {
            database.oid = read_uint32(reader);
            has_oid = true;
        } else if (key == "db-last-system-id") {
            database.last_system_oid = read_uint32(reader);
        } else {
            reader.skip();
        }
    }
    if (!has_oid) reader.fail("missing 'db-id'");
    if (!reader.finished()) return value_error(entry, reader.error());
    manifest_.databases.push_back(std::move(database));
    return compare_last(manifest_.databases, &Meant::databases);
}

Result<> ManifestParser::read_metadata(const IniEntry& entry) {
    if (entry.key != "annotation") return {};
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);)
        manifest_.annotations.insert_or_assign(std::string(key), reader.string());
    if (!reader.finished()) return value_error(entry, reader.error());
    return {};
}

Result<> ManifestParser::read_file(const IniEntry& entry) {
    ManifestFile& file = manifest_.files.emplace_back();
    file.name = entry.key;
    FileState state;
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);)
        if (!read_file_content(reader, key, file, state) && !read_file_storage(reader, key, file) &&
            !read_file_owner(reader, key, file, state))
            reader.skip();
    complete_file(reader, state, file);
    if (!is_manifest_name(entry.key)) reader.fail("not a name inside a backup");
    if (!reader.finished()) return value_error(entry, reader.error());
    file_due_.push_back(state.due);
    return compare_last(manifest_.files, file_due_, file_, &Meant::files);
}

Result<> ManifestParser::read_link(const IniEntry& entry) {
    ManifestLink& link = manifest_.links.emplace_back();
    link.name = entry.key;
    unsigned char due = kDueUser | kDueGroup;
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == "destination") {
            link.destination = reader.string();
        } else if (key == "user") {
            link.user = read_owner(reader);
            due &= static_cast<unsigned char>(~kDueUser);
        } else if (key == "group") {
            link.group = read_owner(reader);
            due &= static_cast<unsigned char>(~kDueGroup);
        } else {
            reader.skip();
        }
    }
    if (link.destination.empty()) reader.fail("missing 'destination'");
    if (!is_manifest_name(entry.key)) reader.fail("not a name inside a backup");
    if (!reader.finished()) return value_error(entry, reader.error());
    link_due_.push_back(due);
    return compare_last(manifest_.links, link_due_, link_, &Meant::links);
}

Result<> ManifestParser::read_path(const IniEntry& entry) {
    ManifestPath& path = manifest_.paths.emplace_back();
    path.name = entry.key;
    unsigned char due = kDueAll;
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == "user") {
            path.user = read_owner(reader);
            due &= static_cast<unsigned char>(~kDueUser);
        } else if (key == "group") {
            path.group = read_owner(reader);
            due &= static_cast<unsigned char>(~kDueGroup);
        } else if (key == "mode") {
            path.mode = parse_mode(reader.string(), reader);
            due &= static_cast<unsigned char>(~kDueMode);
        } else {
            reader.skip();
        }
    }
    if (!is_manifest_name(entry.key)) reader.fail("not a name inside a backup");
    if (!reader.finished()) return value_error(entry, reader.error());
    path_due_.push_back(due);
    return compare_last(manifest_.paths, path_due_, path_, &Meant::paths);
}

Result<> ManifestParser::read_default(const IniEntry& entry, Defaults& defaults) {
    JsonReader reader(entry.value);
    if (entry.key == "user")
        defaults.user = read_owner(reader);
    else if (entry.key == "group")
        defaults.group = read_owner(reader);
    else if (entry.key == "mode")
        defaults.mode = parse_mode(reader.string(), reader);
    else
        reader.skip();
    if (!reader.finished()) return value_error(entry, reader.error());
    return {};
}

// --- comparing instead of keeping

template <class Entry>
Result<> ManifestParser::compare_last(std::vector<Entry>& list, MeantList<Entry> Meant::*meant) {
    if (!meant_) return {};
    CHRONOS_TRY(((*meant_).*meant).compare(list.back()));
    list.clear();
    return {};
}

/// The defaults stand behind the list: those that were meant are taken, and compared at the end.
template <class Entry>
Result<> ManifestParser::compare_last(std::vector<Entry>& list, std::vector<unsigned char>& due,
                                      const Defaults& defaults, MeantList<Entry> Meant::*meant) {
    if (!meant_) return {};
    const ManifestDefaults& all = meant_->manifest.defaults;
    const mode_t mode = &defaults == &path_ ? all.path_mode : all.file_mode;
    apply_defaults({mode, all.user, all.group}, due.back(), list.back());
    due.clear();
    return compare_last(list, meant);
}

Result<> ManifestParser::compare_defaults() const {
    const ManifestDefaults& meant = meant_->manifest.defaults;
    const auto same = [&](const Defaults& read, mode_t mode) {
        return read.user == meant.user && read.group == meant.group && read.mode == mode;
    };
    // A section without a list in front of it is not written.
    const bool links = meant_->manifest.links.empty() || same(link_, link_.mode);
    if (same(file_, meant.file_mode) && same(path_, meant.path_mode) && links) return {};
    return not_as_meant("what entries leave out");
}

Result<> ManifestParser::compare() {
    const Manifest head = CHRONOS_TRY(parse());
    CHRONOS_TRY(meant_->targets.finish());
    CHRONOS_TRY(meant_->databases.finish());
    CHRONOS_TRY(meant_->files.finish());
    CHRONOS_TRY(meant_->links.finish());
    CHRONOS_TRY(meant_->paths.finish());
    CHRONOS_TRY(compare_defaults());
    // All but the lists, and of those their defaults.
    if (format_manifest_head(head) == format_manifest_head(meant_->manifest)) return {};
    return not_as_meant("the head of it");
}

// --- the whole

ManifestParser::Handler ManifestParser::handler_of(std::string_view section) {
    using P = ManifestParser;
    static const std::unordered_map<std::string_view, Handler> kHandlers = {
        {kBackupSection, &P::read_setting},
        {kBackupDatabaseSection, &P::read_setting},
        {kOptionSection, &P::read_setting},
        {kCipherSection, &P::read_setting},
        {kTargetSection, &P::read_target},
        {kDatabaseSection, &P::read_database},
        {kMetadataSection, &P::read_metadata},
        {kFileSection, &P::read_file},
        {kFileDefaultSection, &P::read_file_default},
        {kLinkSection, &P::read_link},
        {kLinkDefaultSection, &P::read_link_default},
        {kPathSection, &P::read_path},
        {kPathDefaultSection, &P::read_path_default},
    };
    const auto found = kHandlers.find(section);
    return found == kHandlers.end() ? nullptr : found->second;
}

void ManifestParser::resolve_defaults() {
    Manifest& m = manifest_;
    m.defaults = {file_.mode, path_.mode, file_.user, file_.group};
    for (std::size_t i = 0; i < m.files.size(); ++i)
        apply_defaults(file_, file_due_[i], m.files[i]);
    for (std::size_t i = 0; i < m.links.size(); ++i)
        apply_defaults(link_, link_due_[i], m.links[i]);
    for (std::size_t i = 0; i < m.paths.size(); ++i)
        apply_defaults(path_, path_due_[i], m.paths[i]);
}

/// The reader of lines does not see what is there twice with something else in between, another
/// section, say. Of one file two would be restored, over each other.
Result<> ManifestParser::sort_lists() {
    const auto sort = [](auto& list) -> Result<> {
        const auto less = [](const auto& a, const auto& b) { return a.name < b.name; };
        const auto does_not_ascend = [&](const auto& a, const auto& b) { return !less(a, b); };
        if (std::ranges::adjacent_find(list, does_not_ascend) == list.end()) return {};
        std::stable_sort(list.begin(), list.end(), less);
        const auto twice = std::ranges::adjacent_find(list, does_not_ascend);
        if (twice == list.end()) return {};
        return Error(ErrorKind::format,
                     "'" + printable(std::string(twice->name)) + "' is in the manifest twice");
    };
    CHRONOS_TRY(sort(manifest_.targets));
    CHRONOS_TRY(sort(manifest_.databases));
    CHRONOS_TRY(sort(manifest_.files));
    CHRONOS_TRY(sort(manifest_.links));
    return sort(manifest_.paths);
}

/// Old manifests do not list the chain: it is what the files refer to, and the backup itself.
void ManifestParser::collect_references() {
    std::vector<std::string>& references = manifest_.references;
    if (!references.empty()) return;
    std::set<SharedText> labels;
    for (const ManifestFile& file : manifest_.files)
        if (!file.reference.empty()) labels.insert(file.reference);
    for (const SharedText& label : labels) references.push_back(label.str());
    references.push_back(manifest_.label);
}

Result<> ManifestParser::complete() {
    const Manifest& m = manifest_;
    const auto missing = [](std::string_view what) {
        return Error(ErrorKind::format, "manifest lacks " + std::string(what));
    };
    if (m.label.empty()) return missing("'backup-label' in [backup]");
    if (!is_pg_version(m.pg_version))
        return Error(ErrorKind::version_not_supported,
                     "invalid PostgreSQL version '" + printable(m.pg_version) + "' in manifest");
    if (!has_data_target_) return missing("'pg_data' in [backup:target]");
    resolve_defaults();
    CHRONOS_TRY(sort_lists());
    collect_references();
    return {};
}

void ManifestParser::feed(std::string_view piece) {
    if (!result_) return;
    ini_.feed(piece);
    result_ = read_entries();
}

Result<> ManifestParser::read_entries() {
    IniEntry entry;
    while (ini_.next(entry)) {
        if (entry.section != section_) {
            section_ = entry.section;
            handler_ = handler_of(section_);
        }
        if (handler_ != nullptr) CHRONOS_TRY((this->*handler_)(entry));
    }
    return {};
}

Result<Manifest> ManifestParser::parse() {
    CHRONOS_TRY(std::move(result_));
    ini_.end();
    CHRONOS_TRY(read_entries());
    CHRONOS_TRY(ini_.finish());
    manifest_.backrest_version = ini_.version();
    CHRONOS_TRY(complete());
    return std::move(manifest_);
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text) {
    return ManifestParser(text).parse();
}

struct ManifestComparer::State {
    explicit State(const Manifest& meant) : parser(meant) {}
    ManifestParser parser;
};

ManifestComparer::ManifestComparer(const Manifest& meant)
    : state_(std::make_unique<State>(meant)) {}
ManifestComparer::~ManifestComparer() = default;

Result<> ManifestComparer::write(io::Bytes in) {
    state_->parser.feed(io::text(in));
    return state_->parser.fed();
}

Result<> ManifestComparer::finish() {
    return state_->parser.compare();
}

Result<> compare_manifest(std::string_view text, const Manifest& meant) {
    ManifestComparer comparer(meant);
    CHRONOS_TRY(comparer.write(io::bytes(text)));
    return comparer.finish();
}

Result<> prove_manifest(const Manifest& manifest) {
    ManifestComparer comparer(manifest);
    CHRONOS_TRY(write_manifest(manifest, comparer));
    return comparer.finish();
}

struct ManifestSink::State {
    ManifestParser parser;
};

ManifestSink::ManifestSink() : state_(std::make_unique<State>()) {}
ManifestSink::~ManifestSink() = default;

Result<> ManifestSink::write(io::Bytes in) {
    if (first_ == '\0' && !in.empty()) first_ = io::text(in).front();
    state_->parser.feed(io::text(in));
    return {};
}

Result<Manifest> ManifestSink::take() {
    return state_->parser.parse();
}

}  // namespace chronos::repo
