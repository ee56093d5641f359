// Info files and manifests in a repository: the pairs of main file and copy, and what the
// directory says about them. docs/format/info-files.md, Copies; docs/format/info-files.md,
// Reconstruction.
#include <algorithm>
#include <functional>
#include <mutex>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/passphrase.h"
#include "chronos/repo/proven_text.h"
#include "chronos/storage/parallel.h"
#include "repo/manifest_sink.h"

namespace chronos::repo {
namespace {

constexpr std::size_t kAnnotationKeySizeMax = 66;

constexpr std::string_view kArchiveInfoHints[] = {
    "archive.info cannot be opened but is required to push/get WAL segments.",
    "is archive_command configured correctly in postgresql.conf?",
    "has a stanza-create been performed?",
    "use --no-archive-check to disable archive checks during backup if you have an alternate "
    "archiving scheme.",
};
constexpr std::string_view kBackupInfoHints[] = {
    "backup.info cannot be opened and is required to perform a backup.",
    "has a stanza-create been performed?",
};

/// A missing file is named the way pgBackRest names it.
Error not_read(const Repository& repository, const std::string& name, Error error) {
    if (error.kind() != ErrorKind::not_found) return error;
    return Error(ErrorKind::not_found, "unable to open missing file '" +
                                           repository.storage->describe(name) + "' for read");
}

/// One in 256 wrong passphrases yields padding that fits, and random bytes.
bool is_decrypted(const Repository& repository, const std::string& pass, bool begins_as_text) {
    return !repository.encrypted() || pass.empty() || begins_as_text;
}

/// One of the two files, as a value.
template <class Value>
Result<Value> load_one(const Repository& repository, const std::string& name,
                       const std::string& pass, Result<Value> (*parse)(std::string_view)) {
    Result<std::string> text = read_text(repository, name, pass);
    if (!text) return not_read(repository, name, std::move(text).error());
    if (!is_decrypted(repository, pass, begins_as_section(*text)))
        return wrong_passphrase(repository, name, pass);
    return parse(*text);
}

Result<Manifest> load_one_manifest(const Repository& repository, const std::string& name,
                                   const std::string& pass) {
    ManifestSink sink;
    Result<> read = read_bounded_text_into(repository, name, pass, sink, kManifestSizeMax);
    if (!read) return not_read(repository, name, std::move(read).error());
    if (!is_decrypted(repository, pass, sink.first() == '['))
        return wrong_passphrase(repository, name, pass);
    return sink.take();
}

/// An info file, with the passphrase of the repository or the one before it.
template <class Value>
Result<Value> load_info_file(const Repository& repository, const std::string& name,
                             Result<Value> (*parse)(std::string_view)) {
    Result<Value> value = load_one(repository, name, repository.passphrase, parse);
    if (value || repository.previous_passphrase.empty() ||
        value.error().kind() == ErrorKind::not_found)
        return value;
    Result<Value> former = load_one(repository, name, repository.previous_passphrase, parse);
    return former ? std::move(former) : std::move(value);
}

/// Of an object below backup/ or archive/.
std::string stanza_of(const std::string& name) {
    return std::string(split(name, '/').at(1));
}

ErrorKind kind_of_both(ErrorKind main, ErrorKind copy) {
    if (main == copy || copy == ErrorKind::not_found) return main;
    if (main == ErrorKind::not_found) return copy;
    return ErrorKind::file_open;
}

std::string error_line(const Error& error) {
    return "\n" + std::string(error_class_name(error.kind())) + ": " + error.message();
}

/// Kind crypto stands for a wrong configuration, which concerns both files alike and has a hint of
/// its own; the hints about a missing stanza would only mislead.
Error error_of_both(const Repository& repository, const std::string& what, const std::string& name,
                    const Error& main, const Error& copy, std::span<const std::string_view> hints) {
    const ErrorKind kind = kind_of_both(main.kind(), copy.kind());
    if (kind == ErrorKind::crypto) return main.kind() == ErrorKind::crypto ? main : copy;
    const std::string path = repository.storage->describe(name);
    Error error(kind, "unable to load " + what + " file '" + path + "' or '" + path +
                          ".copy':" + error_line(main) + error_line(copy));
    if (main.transient()) error = std::move(error).as_transient();
    // Who was not let in, or reached nobody, has another trouble than a missing stanza.
    const bool not_reached =
        kind == ErrorKind::access || kind == ErrorKind::service || kind == ErrorKind::host_connect;
    if (not_reached && !main.hint().empty()) return std::move(error).with_hint(main.hint());
    for (const std::string_view hint : hints) error = std::move(error).with_hint(hint);
    if (not_reached) return error;
    const bool missing = kind == ErrorKind::not_found;
    if (missing && hints.empty()) return error;  // a backup that is not there
    return std::move(error).with_hint((missing ? "If the stanza is an old one: " : "") +
                                      repair_hint(stanza_of(name)));
}

/// The passphrase that does not open `name` and its copy may open the other info file of the
/// stanza: then it is the right one, and both files are damaged at their beginning.
Error judge_passphrase(const Repository& repository, const std::string& name,
                       const std::string& other, Error error) {
    if (error.kind() != ErrorKind::crypto || !repository.encrypted()) return error;
    if (!read_info_text(repository, other) && !read_info_text(repository, other + ".copy"))
        return error;
    return Error(ErrorKind::format, "'" + repository.storage->describe(name) +
                                        "' and its copy are damaged, or encrypted with another "
                                        "passphrase than '" +
                                        repository.storage->describe(other) + "', which opens")
        .with_hint(repair_hint(stanza_of(name)));
}

/// `load` is given the name of one of the two files.
template <class Load>
auto load_pair(const Repository& repository, const std::string& what, const std::string& name,
               Load load, std::span<const std::string_view> hints) -> decltype(load(name)) {
    auto main = load(name);
    if (main) return main;
    // Nobody answers: asking for the copy would only double the wait.
    if (main.error().kind() == ErrorKind::host_connect)
        return std::move(main).error().while_doing("load " + what + " file '" +
                                                   repository.storage->describe(name) + "'");
    auto copy = load(name + ".copy");
    if (copy) return copy;
    return error_of_both(repository, what, name, std::move(main).error(), std::move(copy).error(),
                         hints);
}

/// No file is written where a directory is; before one of a pair is, that is known of both.
Result<> check_no_directory(const Repository& repository, const std::string& name) {
    if (!repository.storage->features().paths) return {};
    const auto entry = CHRONOS_TRY(repository.storage->info(name));
    if (!entry || entry->type != storage::EntryType::path) return {};
    return Error(ErrorKind::file_open, "unable to write '" + repository.storage->describe(name) +
                                           "': a directory is in its place")
        .with_hint(repair_hint(stanza_of(name)));
}

/// Either of the two may be the newer one, as long as each is whole: which it is where an object
/// appears at once.
template <class Info>
Result<> save_info_pair(const Repository& repository, const std::string& name, const Info& info,
                        std::string (*format)(const Info&),
                        Result<Info> (*parse)(std::string_view)) {
    CHRONOS_TRY(check_no_directory(repository, name));
    CHRONOS_TRY(check_no_directory(repository, name + ".copy"));
    return write_text_pair(repository, {name, name + ".copy", /*at_once=*/true}, format(info),
                           repository.passphrase, reads_back_as(info, parse));
}

// --- reconstruction

/// Drops what has no manifest any more, and what cannot be restored without it. Returns the labels.
std::vector<std::string> drop_missing(const std::set<std::string>& complete,
                                      std::vector<BackupEntry>& backups) {
    std::set<std::string> gone;
    // Ascending labels: a backup comes after everything it depends on.
    for (const BackupEntry& backup : backups) {
        const bool lost_base =
            gone.contains(backup.prior) ||
            std::any_of(backup.references.begin(), backup.references.end(),
                        [&](const std::string& label) { return gone.contains(label); });
        if (!lost_base && complete.contains(backup.label)) continue;
        log_warn("backup '" + backup.label + "' missing manifest removed from backup.info");
        gone.insert(backup.label);
    }
    std::erase_if(backups, [&](const BackupEntry& backup) { return gone.contains(backup.label); });
    return {gone.begin(), gone.end()};
}

bool belongs(const BackupInfo& info, const Manifest& manifest) {
    const bool known =
        std::any_of(info.history.begin(), info.history.end(), [&](const HistoryEntry& entry) {
            return entry.id == manifest.history_id && entry.system_id == manifest.system_id &&
                   entry.version == manifest.pg_version;
        });
    return known && (manifest.prior.empty() || info.find(manifest.prior) != nullptr);
}

Result<bool> add_unlisted(const Repository& repository, const std::string& stanza,
                          const std::set<std::string>& complete, BackupInfo& info) {
    bool added = false;
    for (const std::string& label : complete) {
        if (info.find(label) != nullptr) continue;
        const Manifest manifest =
            CHRONOS_TRY(load_manifest(repository, stanza, label, info.cipher_pass));
        if (manifest.label != label || !belongs(info, manifest)) {
            log_warn("invalid backup '" + label + "' cannot be added to current backups");
            continue;
        }
        const auto place =
            std::find_if(info.backups.begin(), info.backups.end(),
                         [&](const BackupEntry& backup) { return backup.label > label; });
        info.backups.insert(place, backup_entry_of(manifest));
        log_warn("backup '" + label + "' found in repository added to backup.info");
        added = true;
    }
    return added;
}

}  // namespace

Result<std::string> read_info_text(const Repository& repository, const std::string& name) {
    const auto read = [&](const std::string& pass) -> Result<std::string> {
        std::string text = CHRONOS_TRY(read_text(repository, name, pass));
        if (!is_decrypted(repository, pass, begins_as_section(text)))
            return wrong_passphrase(repository, name, pass);
        return text;
    };
    Result<std::string> text = read(repository.passphrase);
    if (text || repository.previous_passphrase.empty() ||
        text.error().kind() == ErrorKind::not_found)
        return text;
    Result<std::string> former = read(repository.previous_passphrase);
    return former ? std::move(former) : std::move(text);
}

Result<ArchiveInfo> load_archive_info(const Repository& repository, const std::string& stanza) {
    const auto load = [&](const std::string& name) {
        return load_info_file(repository, name, parse_archive_info);
    };
    auto info = load_pair(repository, "info", archive_info_name(stanza), load, kArchiveInfoHints);
    if (info) return info;
    return judge_passphrase(repository, archive_info_name(stanza), backup_info_name(stanza),
                            std::move(info).error());
}

Result<BackupInfo> load_backup_info(const Repository& repository, const std::string& stanza) {
    const auto load = [&](const std::string& name) {
        return load_info_file(repository, name, parse_backup_info);
    };
    auto info = load_pair(repository, "info", backup_info_name(stanza), load, kBackupInfoHints);
    if (info) return info;
    return judge_passphrase(repository, backup_info_name(stanza), archive_info_name(stanza),
                            std::move(info).error());
}

Result<> save_archive_info(const Repository& repository, const std::string& stanza,
                           const ArchiveInfo& info) {
    ArchiveInfo stored = info;
    // These stand in backup.info only.
    for (HistoryEntry& entry : stored.history) entry.catalog_version = entry.control_version = 0;
    return save_info_pair(repository, archive_info_name(stanza), stored, format_archive_info,
                          parse_archive_info);
}

Result<> save_backup_info(const Repository& repository, const std::string& stanza,
                          const BackupInfo& info) {
    return save_info_pair(repository, backup_info_name(stanza), info, format_backup_info,
                          parse_backup_info);
}

Result<ReconstructedInfo> load_backup_info_reconstructed(const Repository& repository,
                                                         const std::string& stanza) {
    ReconstructedInfo result;
    CHRONOS_TRY(storage::at_once(
        *repository.storage,
        {storage::answer_into(result.info, [&] { return load_backup_info(repository, stanza); }),
         storage::answer_into(result.labels,
                              [&] { return list_backup_labels(repository, stanza); })}));
    // One that was completed after the listing is no less there.
    std::set<std::string> labels(result.labels.begin(), result.labels.end());
    for (const BackupEntry& backup : result.info.backups) labels.insert(backup.label);
    result.complete =
        CHRONOS_TRY(find_complete_backups(repository, stanza, {labels.begin(), labels.end()}));
    result.dropped = drop_missing(result.complete, result.info.backups);
    const bool added = CHRONOS_TRY(add_unlisted(repository, stanza, result.complete, result.info));
    result.changed = !result.dropped.empty() || added;
    return result;
}

Result<std::vector<std::string>> list_backup_labels(const Repository& repository,
                                                    const std::string& stanza) {
    std::vector<std::string> labels;
    for (storage::Entry& entry : CHRONOS_TRY(repository.storage->list(backup_path(stanza))))
        if (entry.type == storage::EntryType::path && is_backup_label(entry.name))
            labels.push_back(std::move(entry.name));
    return labels;
}

Result<std::set<std::string>> find_complete_backups(const Repository& repository,
                                                    const std::string& stanza,
                                                    const std::vector<std::string>& labels) {
    // A new connection costs three round trips: a thread is worth it for more questions than that.
    // Some connections are there from what was asked before.
    constexpr std::size_t kQuestionsPerThread = 8;
    constexpr std::size_t kConnectionsThere = 3;
    io::Workers workers = storage::workers_for(*repository.storage, 1);
    workers.threads =
        std::min(workers.threads, kConnectionsThere + labels.size() / kQuestionsPerThread);
    std::mutex mutex;
    std::set<std::string> complete;
    const auto look = [&](std::size_t i) -> Result<> {
        if (!CHRONOS_TRY(storage::exists(*repository.storage, manifest_name(stanza, labels[i]))))
            return {};
        const std::lock_guard lock(mutex);
        complete.insert(labels[i]);
        return {};
    };
    CHRONOS_TRY(io::parallel_for(workers, labels.size(), Cancellation(), look));
    return complete;
}

Result<Manifest> load_manifest(const Repository& repository, const std::string& stanza,
                               const std::string& label, const std::string& backup_pass) {
    const auto load = [&](const std::string& name) {
        return load_one_manifest(repository, name, backup_pass);
    };
    return load_pair(repository, "backup manifest", manifest_name(stanza, label), load, {});
}

Result<Manifest> read_manifest_file(const Repository& repository, const std::string& name,
                                    const std::string& backup_pass, std::string* text_sha1) {
    ManifestSink sink;
    crypto::Sha1Sink text(sink);
    CHRONOS_TRY(read_bounded_text_into(repository, name, backup_pass, text, kManifestSizeMax));
    if (text_sha1 != nullptr) *text_sha1 = text.hex();
    return sink.take();
}

Result<Manifest> load_manifest_copy(const Repository& repository, const std::string& stanza,
                                    const std::string& label, const std::string& backup_pass) {
    return load_one_manifest(repository, manifest_name(stanza, label) + ".copy", backup_pass);
}

std::string repair_hint(const std::string& stanza) {
    return "'chronos --stanza=" + stanza + " repair' shows how to mend it.";
}

std::string entry_difference(const BackupEntry& listed, const BackupEntry& actual,
                             bool decisive_only) {
    const auto labels = [](const BackupEntry& entry) {
        return std::set<std::string>(entry.references.begin(), entry.references.end());
    };
    std::vector<std::string> keys;
    const auto compare = [&](const char* key, const auto& one, const auto& other, bool decisive) {
        if (one != other && (decisive || !decisive_only)) keys.emplace_back(key);
    };
    compare("backup-type", listed.type, actual.type, false);
    compare("backup-archive-start", listed.archive_start, actual.archive_start, true);
    compare("backup-archive-stop", listed.archive_stop, actual.archive_stop, true);
    // Where old versions did not write them, nothing was chosen by them.
    compare("backup-lsn-start", listed.lsn_start, actual.lsn_start, listed.lsn_start.has_value());
    compare("backup-lsn-stop", listed.lsn_stop, actual.lsn_stop, listed.lsn_stop.has_value());
    compare("backup-prior", listed.prior, actual.prior, false);
    compare("backup-reference", labels(listed), labels(actual), false);
    compare("backup-timestamp-start", listed.timestamp_start, actual.timestamp_start, false);
    compare("backup-timestamp-stop", listed.timestamp_stop, actual.timestamp_stop, true);
    compare("db-id", listed.history_id, actual.history_id, true);
    compare("option-online", listed.option_online, actual.option_online, false);
    // Old versions did not write it.
    if (listed.error) compare("backup-error", listed.error, actual.error, false);
    // Of a manifest whose sizes somebody changed, these are what is left of the old ones.
    compare("backup-info-size", listed.size, actual.size, false);
    compare("backup-info-size-delta", listed.size_delta, actual.size_delta, false);
    compare("backup-info-repo-size", listed.repo_size, actual.repo_size, false);
    compare("backup-info-repo-size-delta", listed.repo_size_delta, actual.repo_size_delta, false);
    return join(keys, ", ");
}

std::vector<HistoryEntry> archives_of(const std::vector<HistoryEntry>& history,
                                      std::string_view version, std::uint64_t system_id,
                                      std::uint64_t history_id) {
    std::vector<HistoryEntry> archives;
    for (const HistoryEntry& entry : history)
        if (entry.version == version && entry.system_id == system_id) archives.push_back(entry);
    std::ranges::sort(archives, std::greater(), [&](const HistoryEntry& entry) {
        return std::pair(entry.id == history_id, entry.id);
    });
    return archives;
}

BackupEntry backup_entry_of(const Manifest& manifest) {
    BackupEntry entry;
    entry.label = manifest.label;
    entry.backrest_version = manifest.backrest_version;
    entry.annotations = manifest.annotations;
    entry.archive_start = manifest.archive_start;
    entry.archive_stop = manifest.archive_stop;
    entry.error = std::any_of(manifest.files.begin(), manifest.files.end(),
                              [](const ManifestFile& file) { return file.page_error; });
    const Manifest::Sizes sizes = manifest.sizes();
    entry.size = sizes.size;
    entry.size_delta = sizes.size_delta;
    entry.repo_size = sizes.repo_size;
    entry.repo_size_delta = sizes.repo_size_delta;
    if (sizes.has_maps) {
        entry.map_size = sizes.map_size;
        entry.map_size_delta = sizes.map_size_delta;
    }
    entry.lsn_start = manifest.lsn_start;
    entry.lsn_stop = manifest.lsn_stop;
    entry.prior = manifest.prior;
    entry.references = manifest.references;
    std::erase(entry.references, manifest.label);
    entry.timestamp_start = manifest.timestamp_start;
    entry.timestamp_stop = manifest.timestamp_stop;
    entry.type = manifest.type;
    entry.history_id = manifest.history_id;
    const ManifestOptions& options = manifest.options;
    entry.option_archive_check = options.archive_check;
    entry.option_archive_copy = options.archive_copy;
    entry.option_backup_standby = options.backup_standby.value_or(false);
    entry.option_checksum_page = options.checksum_page.value_or(false);
    entry.option_compress = options.compress_type != compress::CompressType::none;
    entry.option_hardlink = options.hardlink;
    entry.option_online = options.online;
    return entry;
}

Result<> check_annotations(const std::map<std::string, std::string>& annotations) {
    for (const auto& [key, value] : annotations) {
        CHRONOS_TRY(check_annotation_key(key));
        CHRONOS_TRY(check_text("the text of annotation '" + key + "'", value));
    }
    return {};
}

Result<> check_text(const std::string& what, std::string_view text) {
    std::string plain(text);
    // In their place something stays: what is left of a character that they break is none.
    std::ranges::replace_if(
        plain, [](char c) { return c == '\n' || c == '\t'; }, ' ');
    if (printable(plain, SIZE_MAX) == plain) return {};
    return Error(ErrorKind::option_invalid_value,
                 what + " cannot be stored: '" + printable(text, 80) + "'")
        .with_hint("It must be UTF-8 without control characters.");
}

Result<> check_annotation_key(std::string_view key) {
    const bool plain =
        key.find_first_of("\"\\") == std::string_view::npos && printable(key, SIZE_MAX) == key;
    if (plain && !key.empty() && key.size() <= kAnnotationKeySizeMax) return {};
    return Error(ErrorKind::option_invalid_value,
                 "'" + printable(key) + "' cannot be the key of an annotation")
        .with_hint(
            "A key has 1 to 66 bytes, in UTF-8, none of them a quote, backslash or control "
            "character.");
}

}  // namespace chronos::repo
