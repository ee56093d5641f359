// The text of a manifest, exactly as pgBackRest writes it: docs/format/manifest.md.
#include <algorithm>
#include <cstdio>

#include "chronos/repo/manifest.h"
#include "repo/ini_text.h"
#include "repo/json_text.h"
#include "repo/manifest_sink.h"
#include "repo/manifest_text.h"

namespace chronos::repo {
namespace {

/// Composes the object that is the value of one entry; members must come in sorted order.
class ObjectText {
public:
    void begin() { text_ = '{'; }
    std::string& member(std::string_view key) {
        if (text_.size() > 1) text_ += ',';
        text_ += '"';
        text_ += key;
        text_ += "\":";
        return text_;
    }
    void string(std::string_view key, std::string_view value) {
        append_json_string(member(key), value);
    }
    void number(std::string_view key, std::uint64_t value) { append_number(member(key), value); }
    void boolean(std::string_view key, bool value) { append_bool(member(key), value); }
    void owner(std::string_view key, const OwnerName& name) {
        if (name)
            string(key, *name);
        else
            boolean(key, false);
    }
    std::string_view end() {
        text_ += '}';
        return text_;
    }

private:
    std::string text_;
};

std::string mode_text(mode_t mode) {
    char text[16];
    std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode));
    return text;
}

template <class Entry>
bool is_by_name(const std::vector<Entry>& entries) {
    return std::is_sorted(entries.begin(), entries.end(),
                          [](const Entry& a, const Entry& b) { return a.name < b.name; });
}

/// The entries in the order of their names; callers mostly hand them over sorted.
template <class Entry>
std::vector<const Entry*> by_name(const std::vector<Entry>& entries) {
    std::vector<const Entry*> sorted;
    sorted.reserve(entries.size());
    for (const Entry& entry : entries) sorted.push_back(&entry);
    const auto less = [](const Entry* a, const Entry* b) { return a->name < b->name; };
    if (!is_by_name(entries)) std::stable_sort(sorted.begin(), sorted.end(), less);
    return sorted;
}

class ManifestWriter {
public:
    explicit ManifestWriter(const Manifest& manifest)
        : manifest_(manifest), ini_(manifest.backrest_version) {}
    /// All but what `sink`, if there is one, has got already.
    Result<std::string> write(io::Sink* sink) &&;
    /// Without the lists.
    std::string write_head() &&;

private:
    void write_backup();
    void write_database();
    void write_options();
    void write_targets();
    void write_databases();
    void write_cipher();
    void write_annotations();
    Result<> write_files(io::Sink* sink);
    void write_file(const ManifestFile& file);
    void write_page_errors(const ManifestFile& file);
    void write_links();
    void write_paths();
    void write_default_owner(std::string_view key, const OwnerName& name);

    const Manifest& manifest_;
    IniWriter ini_;
    ObjectText object_;
};

void ManifestWriter::write_backup() {
    const Manifest& m = manifest_;
    ini_.section(kBackupSection);
    if (!m.archive_start.empty()) ini_.string("backup-archive-start", m.archive_start);
    if (!m.archive_stop.empty()) ini_.string("backup-archive-stop", m.archive_stop);
    if (m.block_incr) ini_.boolean("backup-block-incr", true);
    if (m.bundle) ini_.boolean("backup-bundle", true);
    if (m.bundle_raw) ini_.boolean("backup-bundle-raw", true);
    ini_.string("backup-label", m.label);
    if (m.lsn_start) ini_.string("backup-lsn-start", m.lsn_start->str());
    if (m.lsn_stop) ini_.string("backup-lsn-stop", m.lsn_stop->str());
    if (!m.prior.empty()) ini_.string("backup-prior", m.prior);
    std::string chain;
    for (const std::string& label : m.references) chain += (chain.empty() ? "" : ",") + label;
    ini_.string("backup-reference", chain);
    ini_.raw("backup-timestamp-copy-start", std::to_string(m.timestamp_copy_start));
    ini_.raw("backup-timestamp-start", std::to_string(m.timestamp_start));
    ini_.raw("backup-timestamp-stop", std::to_string(m.timestamp_stop));
    ini_.string("backup-type", backup_type_name(m.type));
}

void ManifestWriter::write_database() {
    ini_.section(kBackupDatabaseSection);
    ini_.number("db-catalog-version", manifest_.catalog_version);
    ini_.number("db-control-version", manifest_.control_version);
    ini_.number("db-id", manifest_.history_id);
    ini_.number("db-system-id", manifest_.system_id);
    ini_.string("db-version", manifest_.pg_version);
}

void ManifestWriter::write_options() {
    const ManifestOptions& o = manifest_.options;
    // A level is stored as the unsigned 32-bit value of the signed one: -3 is 4294967293.
    const auto level = [](int value) { return static_cast<std::uint32_t>(value); };
    ini_.section(kOptionSection);
    ini_.boolean("option-archive-check", o.archive_check);
    ini_.boolean("option-archive-copy", o.archive_copy);
    if (o.backup_standby) ini_.boolean("option-backup-standby", *o.backup_standby);
    if (o.buffer_size) ini_.number("option-buffer-size", *o.buffer_size);
    if (o.checksum_page) ini_.boolean("option-checksum-page", *o.checksum_page);
    ini_.boolean("option-compress", o.compress_type != compress::CompressType::none);
    if (o.compress_level) ini_.number("option-compress-level", level(*o.compress_level));
    if (o.compress_level_network)
        ini_.number("option-compress-level-network", level(*o.compress_level_network));
    ini_.string("option-compress-type", compress::compress_type_name(o.compress_type));
    ini_.boolean("option-delta", o.delta);
    ini_.boolean("option-hardlink", o.hardlink);
    ini_.boolean("option-online", o.online);
    if (o.process_max) ini_.number("option-process-max", *o.process_max);
}

void ManifestWriter::write_targets() {
    ini_.section(kTargetSection);
    for (const ManifestTarget* target : by_name(manifest_.targets)) {
        object_.begin();
        if (!target->file.empty()) object_.string("file", target->file);
        object_.string("path", target->path);
        if (target->tablespace_oid != 0) {
            object_.string("tablespace-id", std::to_string(target->tablespace_oid));
            object_.string("tablespace-name", target->tablespace_name);
        }
        object_.string("type", target->is_link ? "link" : "path");
        ini_.raw(target->name, object_.end());
    }
}

void ManifestWriter::write_databases() {
    ini_.section(kDatabaseSection);
    for (const ManifestDatabase* database : by_name(manifest_.databases)) {
        object_.begin();
        object_.number("db-id", database->oid);
        object_.number("db-last-system-id", database->last_system_oid);
        ini_.raw(database->name, object_.end());
    }
}

void ManifestWriter::write_cipher() {
    if (manifest_.cipher_pass.empty()) return;
    ini_.section(kCipherSection);
    ini_.string(kCipherPassKey, manifest_.cipher_pass);
}

void ManifestWriter::write_annotations() {
    if (manifest_.annotations.empty()) return;
    ini_.section(kMetadataSection);
    object_.begin();
    for (const auto& [key, value] : manifest_.annotations) object_.string(key, value);
    ini_.raw("annotation", object_.end());
}

void ManifestWriter::write_page_errors(const ManifestFile& file) {
    if (file.page_error_ranges.empty()) return;
    std::string& text = object_.member("checksum-page-error");
    char separator = '[';
    for (const auto& [first, last] : file.page_error_ranges) {
        text += separator;
        separator = ',';
        if (first != last) text += '[';
        append_number(text, first);
        if (first == last) continue;
        text += ',';
        append_number(text, last);
        text += ']';
    }
    text += ']';
}

void ManifestWriter::write_file(const ManifestFile& file) {
    const ManifestDefaults& defaults = manifest_.defaults;
    object_.begin();
    if (file.block_size != 0) {
        object_.number("bi", file.block_size / kBlockSizeUnit);
        if (file.block_checksum_size != kBlockChecksumSizeDefault)
            object_.number("bic", file.block_checksum_size);
        if (file.block_map_size != 0) object_.number("bim", file.block_map_size);
    }
    if (file.bundled()) {
        object_.number("bni", file.bundle_id);
        if (file.bundle_offset != 0) object_.number("bno", file.bundle_offset);
    }
    if (file.size != 0 && !file.checksum.empty()) object_.string("checksum", file.checksum.str());
    if (file.page_checked) object_.boolean("checksum-page", !file.page_error);
    write_page_errors(file);
    if (file.group != defaults.group) object_.owner("group", file.group);
    if (file.mode != defaults.file_mode) object_.string("mode", mode_text(file.mode));
    if (!file.repo_checksum.empty()) object_.string("rck", file.repo_checksum.str());
    if (!file.reference.empty()) object_.string("reference", file.reference);
    if (file.repo_size != file.size) object_.number("repo-size", file.repo_size);
    object_.number("size", file.size);
    if (file.size_original != file.size) object_.number("szo", file.size_original);
    append_number(object_.member("timestamp"), std::int64_t{file.timestamp});
    if (file.user != defaults.user) object_.owner("user", file.user);
    ini_.raw(file.name, object_.end());
}

void ManifestWriter::write_default_owner(std::string_view key, const OwnerName& name) {
    if (name)
        ini_.string(key, *name);
    else
        ini_.boolean(key, false);
}

void ManifestWriter::write_links() {
    if (manifest_.links.empty()) return;
    const ManifestDefaults& defaults = manifest_.defaults;
    ini_.section(kLinkSection);
    for (const ManifestLink* link : by_name(manifest_.links)) {
        object_.begin();
        object_.string("destination", link->destination);
        if (link->group != defaults.group) object_.owner("group", link->group);
        if (link->user != defaults.user) object_.owner("user", link->user);
        ini_.raw(link->name, object_.end());
    }
    ini_.section(kLinkDefaultSection);
    write_default_owner("group", defaults.group);
    write_default_owner("user", defaults.user);
}

void ManifestWriter::write_paths() {
    const ManifestDefaults& defaults = manifest_.defaults;
    ini_.section(kPathSection);
    for (const ManifestPath* path : by_name(manifest_.paths)) {
        object_.begin();
        if (path->group != defaults.group) object_.owner("group", path->group);
        if (path->mode != defaults.path_mode) object_.string("mode", mode_text(path->mode));
        if (path->user != defaults.user) object_.owner("user", path->user);
        ini_.raw(path->name, object_.end());
    }
    ini_.section(kPathDefaultSection);
    write_default_owner("group", defaults.group);
    ini_.string("mode", mode_text(defaults.path_mode));
    write_default_owner("user", defaults.user);
}

Result<> ManifestWriter::write_files(io::Sink* sink) {
    constexpr std::size_t kPieceSize = std::size_t{64} * 1024;
    const auto write = [&](const ManifestFile& file) -> Result<> {
        write_file(file);
        if (sink == nullptr || ini_.size() < kPieceSize) return {};
        return sink->write(io::bytes(ini_.take()));
    };
    // Of the files there are too many for a list of them, where none is needed.
    if (is_by_name(manifest_.files)) {
        for (const ManifestFile& file : manifest_.files) CHRONOS_TRY(write(file));
        return {};
    }
    for (const ManifestFile* file : by_name(manifest_.files)) CHRONOS_TRY(write(*file));
    return {};
}

std::string ManifestWriter::write_head() && {
    write_backup();
    write_database();
    write_options();
    write_cipher();
    write_annotations();
    ini_.section(kFileDefaultSection);
    write_default_owner("group", manifest_.defaults.group);
    ini_.string("mode", mode_text(manifest_.defaults.file_mode));
    ini_.string("mode", mode_text(manifest_.defaults.path_mode));
    write_default_owner("user", manifest_.defaults.user);
    return std::move(ini_).finish();
}

Result<std::string> ManifestWriter::write(io::Sink* sink) && {
    write_backup();
    write_database();
    write_options();
    write_targets();
    write_cipher();
    write_databases();
    write_annotations();
    ini_.section(kFileSection);
    CHRONOS_TRY(write_files(sink));
    ini_.section(kFileDefaultSection);
    write_default_owner("group", manifest_.defaults.group);
    ini_.string("mode", mode_text(manifest_.defaults.file_mode));
    write_default_owner("user", manifest_.defaults.user);
    write_links();
    write_paths();
    return std::move(ini_).finish();
}

}  // namespace

std::string format_manifest(const Manifest& manifest) {
    return *ManifestWriter(manifest).write(nullptr);  // without a sink nothing can fail
}

std::string format_manifest_head(const Manifest& manifest) {
    return ManifestWriter(manifest).write_head();
}

Result<> write_manifest(const Manifest& manifest, io::Sink& sink) {
    const std::string rest = CHRONOS_TRY(ManifestWriter(manifest).write(&sink));
    return sink.write(io::bytes(rest));
}

}  // namespace chronos::repo
