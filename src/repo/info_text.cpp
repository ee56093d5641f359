// The texts of archive.info and backup.info: docs/format/info-files.md.
#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/info.h"
#include "repo/ini_text.h"
#include "repo/json_text.h"
#include "repo/manifest_text.h"

namespace chronos::repo {
namespace {

constexpr std::string_view kHistorySection = "db:history";
constexpr std::string_view kCurrentSection = "backup:current";

/// In archive.info the system identifier stands under "db-id", in backup.info under its own name.
enum class HistoryForm { archive, backup };

std::string_view system_id_key(HistoryForm form) {
    return form == HistoryForm::archive ? "db-id" : "db-system-id";
}

Result<HistoryEntry> read_history_entry(const IniEntry& entry, HistoryForm form) {
    HistoryEntry history;
    JsonReader reader(entry.value);
    bool has_system_id = false;
    std::string_view key;
    const auto small = [&reader] {
        const std::uint64_t value = reader.number();
        if (value > UINT32_MAX) reader.fail("number is too large");
        return static_cast<std::uint32_t>(value);
    };
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == system_id_key(form)) {
            history.system_id = reader.number();
            has_system_id = true;
        } else if (key == "db-version") {
            history.version = reader.string();
        } else if (key == "db-catalog-version") {
            history.catalog_version = small();
        } else if (key == "db-control-version") {
            history.control_version = small();
        } else {
            reader.skip();
        }
    }
    if (!has_system_id) reader.fail("missing '" + std::string(system_id_key(form)) + "'");
    if (!reader.finished()) return value_error(entry, reader.error());
    const auto id = parse_uint(entry.key);
    if (!id || *id == 0)
        return value_error(entry, Error(ErrorKind::format, "the key is not a history id"));
    if (!is_pg_version(history.version))
        return value_error(
            entry, Error(ErrorKind::version_not_supported,
                         "invalid PostgreSQL version '" + printable(history.version) + "'"));
    history.id = *id;
    return history;
}

/// The current entry is there and the list is in order, so that current() always finds it.
Result<> check_history(std::vector<HistoryEntry>& history, std::uint64_t current_id) {
    if (history.empty()) return Error(ErrorKind::format, "history is missing");
    if (current_id == 0) return Error(ErrorKind::format, "current id is missing");
    std::stable_sort(history.begin(), history.end(),
                     [](const HistoryEntry& a, const HistoryEntry& b) { return a.id < b.id; });
    const auto twice = std::ranges::adjacent_find(history, {}, &HistoryEntry::id);
    if (twice != history.end())
        return Error(ErrorKind::format,
                     "history id " + std::to_string(twice->id) + " is there twice");
    if (std::none_of(history.begin(), history.end(),
                     [&](const HistoryEntry& entry) { return entry.id == current_id; }))
        return Error(ErrorKind::format, "unable to find current id in history");
    return {};
}

template <class Info>
const HistoryEntry& current_of(const Info& info) {
    for (const HistoryEntry& entry : info.history)
        if (entry.id == info.current_id) return entry;
    throw std::out_of_range("the current id is not in the history");
}

std::map<std::string, std::string> read_string_map(JsonReader& reader) {
    std::map<std::string, std::string> map;
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);)
        map.insert_or_assign(std::string(key), reader.string());
    return map;
}

std::string read_nullable(JsonReader& reader) {
    if (reader.peek() != 'n') return reader.string();
    reader.null();
    return {};
}

Lsn read_lsn(JsonReader& reader) {
    const auto lsn = Lsn::parse(reader.string());
    if (!lsn) reader.fail("expected an LSN");
    return lsn.value_or(Lsn{});
}

std::string read_label(JsonReader& reader) {
    std::string label = reader.string();
    if (!is_backup_label(label)) reader.fail("expected a backup label");
    return label;
}

BackupType read_type(JsonReader& reader) {
    const auto type = parse_backup_type(reader.string());
    if (!type) reader.fail("expected full, diff or incr");
    return type.value_or(BackupType::full);
}

/// One member of a backup's entry: how to read it, and whether there is no entry without it.
struct Member {
    std::string_view key;
    bool required;
    void (*read)(JsonReader&, BackupEntry&);
};

template <auto Field>
void read_into_number(JsonReader& reader, BackupEntry& entry) {
    entry.*Field = reader.number();
}
template <auto Field>
void read_into_time(JsonReader& reader, BackupEntry& entry) {
    entry.*Field = reader.time();
}
template <auto Field>
void read_into_bool(JsonReader& reader, BackupEntry& entry) {
    entry.*Field = reader.boolean();
}
template <auto Field>
void read_into_segment(JsonReader& reader, BackupEntry& entry) {
    std::string segment = read_nullable(reader);
    if (!segment.empty() && !pgdata::is_wal_segment(segment))
        reader.fail("expected the name of a WAL segment");
    entry.*Field = std::move(segment);
}
template <auto Field>
void read_into_lsn(JsonReader& reader, BackupEntry& entry) {
    entry.*Field = read_lsn(reader);
}

using B = BackupEntry;
constexpr Member kMembers[] = {
    {"backrest-format", true, [](JsonReader& reader, B&) { reader.number(); }},
    {"backrest-version", true, [](JsonReader& r, B& b) { b.backrest_version = r.string(); }},
    {"backup-annotation", false, [](JsonReader& r, B& b) { b.annotations = read_string_map(r); }},
    {"backup-archive-start", false, read_into_segment<&B::archive_start>},
    {"backup-archive-stop", false, read_into_segment<&B::archive_stop>},
    {"backup-error", false, read_into_bool<&B::error>},
    {"backup-info-repo-size", true, read_into_number<&B::repo_size>},
    {"backup-info-repo-size-delta", true, read_into_number<&B::repo_size_delta>},
    {"backup-info-repo-size-map", false, read_into_number<&B::map_size>},
    {"backup-info-repo-size-map-delta", false, read_into_number<&B::map_size_delta>},
    {"backup-info-size", true, read_into_number<&B::size>},
    {"backup-info-size-delta", true, read_into_number<&B::size_delta>},
    {"backup-lsn-start", false, read_into_lsn<&B::lsn_start>},
    {"backup-lsn-stop", false, read_into_lsn<&B::lsn_stop>},
    {"backup-prior", false, [](JsonReader& r, B& b) { b.prior = read_label(r); }},
    {"backup-reference", false,
     [](JsonReader& r, B& b) {
         for (r.begin_array(); r.next_item();) b.references.push_back(read_label(r));
     }},
    {"backup-timestamp-start", true, read_into_time<&B::timestamp_start>},
    {"backup-timestamp-stop", true, read_into_time<&B::timestamp_stop>},
    {"backup-type", true, [](JsonReader& r, B& b) { b.type = read_type(r); }},
    {"db-id", true, read_into_number<&B::history_id>},
    {"option-archive-check", true, read_into_bool<&B::option_archive_check>},
    {"option-archive-copy", true, read_into_bool<&B::option_archive_copy>},
    {"option-backup-standby", true, read_into_bool<&B::option_backup_standby>},
    {"option-checksum-page", true, read_into_bool<&B::option_checksum_page>},
    {"option-compress", true, read_into_bool<&B::option_compress>},
    {"option-hardlink", true, read_into_bool<&B::option_hardlink>},
    {"option-online", true, read_into_bool<&B::option_online>},
};

Result<BackupEntry> read_backup_entry(const IniEntry& entry) {
    BackupEntry backup;
    backup.label = entry.key;
    std::uint64_t seen = 0;  // bit N: kMembers[N]
    JsonReader reader(entry.value);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const auto member = std::find_if(std::begin(kMembers), std::end(kMembers),
                                         [&](const Member& m) { return m.key == key; });
        if (member == std::end(kMembers)) {
            reader.skip();
            continue;
        }
        seen |= std::uint64_t{1} << (member - std::begin(kMembers));
        member->read(reader, backup);
    }
    for (std::size_t i = 0; i < std::size(kMembers); ++i)
        if (kMembers[i].required && (seen >> i & 1) == 0)
            reader.fail("missing '" + std::string(kMembers[i].key) + "'");
    if (backup.map_size.has_value() != backup.map_size_delta.has_value())
        reader.fail("size and delta size of the block maps do not come together");
    if (!is_backup_label(entry.key)) reader.fail("the key is not a backup label");
    if (!reader.finished()) return value_error(entry, reader.error());
    return backup;
}

void put_key(std::string& out, std::string_view key) {
    out += out.empty() ? "{\"" : ",\"";
    out += key;
    out += "\":";
}
void put_string(std::string& out, std::string_view key, std::string_view value) {
    put_key(out, key);
    append_json_string(out, value);
}
template <class Number>
void put_number(std::string& out, std::string_view key, Number value) {
    put_key(out, key);
    append_number(out, value);
}
void put_bool(std::string& out, std::string_view key, bool value) {
    put_key(out, key);
    append_bool(out, value);
}
void put_segment(std::string& out, std::string_view key, const std::string& name) {
    put_key(out, key);
    if (name.empty())
        out += "null";
    else
        append_json_string(out, name);
}

void put_sizes(std::string& out, const BackupEntry& backup) {
    put_number(out, "backup-info-repo-size", backup.repo_size);
    put_number(out, "backup-info-repo-size-delta", backup.repo_size_delta);
    if (backup.map_size) put_number(out, "backup-info-repo-size-map", *backup.map_size);
    if (backup.map_size_delta)
        put_number(out, "backup-info-repo-size-map-delta", *backup.map_size_delta);
    put_number(out, "backup-info-size", backup.size);
    put_number(out, "backup-info-size-delta", backup.size_delta);
}

void put_references(std::string& out, const BackupEntry& backup) {
    if (!backup.prior.empty()) put_string(out, "backup-prior", backup.prior);
    if (backup.references.empty()) return;
    put_key(out, "backup-reference");
    char separator = '[';
    for (const std::string& label : backup.references) {
        out += separator;
        append_json_string(out, label);
        separator = ',';
    }
    out += ']';
}

void put_options(std::string& out, const BackupEntry& backup) {
    put_bool(out, "option-archive-check", backup.option_archive_check);
    put_bool(out, "option-archive-copy", backup.option_archive_copy);
    put_bool(out, "option-backup-standby", backup.option_backup_standby);
    put_bool(out, "option-checksum-page", backup.option_checksum_page);
    put_bool(out, "option-compress", backup.option_compress);
    put_bool(out, "option-hardlink", backup.option_hardlink);
    put_bool(out, "option-online", backup.option_online);
}

std::string annotations_text(const std::map<std::string, std::string>& annotations) {
    std::string out;
    for (const auto& [key, value] : annotations) put_string(out, key, value);
    return out + '}';
}

std::string backup_entry_text(const BackupEntry& backup) {
    std::string out;
    put_number(out, "backrest-format", std::uint64_t{kFormatNumber});
    put_string(out, "backrest-version", backup.backrest_version);
    if (!backup.annotations.empty()) {
        put_key(out, "backup-annotation");
        out += annotations_text(backup.annotations);
    }
    put_segment(out, "backup-archive-start", backup.archive_start);
    put_segment(out, "backup-archive-stop", backup.archive_stop);
    if (backup.error) put_bool(out, "backup-error", *backup.error);
    put_sizes(out, backup);
    if (backup.lsn_start) put_string(out, "backup-lsn-start", backup.lsn_start->str());
    if (backup.lsn_stop) put_string(out, "backup-lsn-stop", backup.lsn_stop->str());
    put_references(out, backup);
    put_number(out, "backup-timestamp-start", std::int64_t{backup.timestamp_start});
    put_number(out, "backup-timestamp-stop", std::int64_t{backup.timestamp_stop});
    put_string(out, "backup-type", backup_type_name(backup.type));
    put_number(out, "db-id", backup.history_id);
    put_options(out, backup);
    return out + '}';
}

void write_cipher(IniWriter& ini, const std::string& cipher_pass) {
    if (cipher_pass.empty()) return;
    ini.section(kCipherSection);
    ini.string(kCipherPassKey, cipher_pass);
}

}  // namespace

const HistoryEntry& ArchiveInfo::current() const {
    return current_of(*this);
}
const HistoryEntry& BackupInfo::current() const {
    return current_of(*this);
}

const BackupEntry* BackupInfo::find(std::string_view label) const {
    const auto at = std::find_if(backups.begin(), backups.end(),
                                 [&](const BackupEntry& entry) { return entry.label == label; });
    return at == backups.end() ? nullptr : &*at;
}

Result<ArchiveInfo> parse_archive_info(std::string_view text) {
    ArchiveInfo info;
    IniReader reader(text);
    IniEntry entry;
    while (reader.next(entry)) {
        if (entry.section == kDatabaseSection && entry.key == "db-id")
            info.current_id = CHRONOS_TRY(number_value(entry));
        else if (entry.section == kHistorySection)
            info.history.push_back(CHRONOS_TRY(read_history_entry(entry, HistoryForm::archive)));
        else if (entry.section == kCipherSection && entry.key == kCipherPassKey)
            info.cipher_pass = CHRONOS_TRY(string_value(entry));
    }
    CHRONOS_TRY(reader.finish());
    CHRONOS_TRY(check_history(info.history, info.current_id));
    info.backrest_version = reader.version();
    return info;
}

std::string format_archive_info(const ArchiveInfo& info) {
    IniWriter ini(info.backrest_version);
    write_cipher(ini, info.cipher_pass);
    const HistoryEntry& current = info.current();
    ini.section(kDatabaseSection);
    ini.number("db-id", current.id);
    ini.number("db-system-id", current.system_id);
    ini.string("db-version", current.version);
    ini.section(kHistorySection);
    for (const HistoryEntry& entry : info.history) {
        std::string value;
        put_number(value, system_id_key(HistoryForm::archive), entry.system_id);
        put_string(value, "db-version", entry.version);
        ini.raw(std::to_string(entry.id), value + '}');
    }
    return std::move(ini).finish();
}

Result<BackupInfo> parse_backup_info(std::string_view text) {
    BackupInfo info;
    IniReader reader(text);
    IniEntry entry;
    while (reader.next(entry)) {
        if (entry.section == kDatabaseSection && entry.key == "db-id")
            info.current_id = CHRONOS_TRY(number_value(entry));
        else if (entry.section == kHistorySection)
            info.history.push_back(CHRONOS_TRY(read_history_entry(entry, HistoryForm::backup)));
        else if (entry.section == kCurrentSection)
            info.backups.push_back(CHRONOS_TRY(read_backup_entry(entry)));
        else if (entry.section == kCipherSection && entry.key == kCipherPassKey)
            info.cipher_pass = CHRONOS_TRY(string_value(entry));
    }
    CHRONOS_TRY(reader.finish());
    CHRONOS_TRY(check_history(info.history, info.current_id));
    std::stable_sort(info.backups.begin(), info.backups.end(),
                     [](const BackupEntry& a, const BackupEntry& b) { return a.label < b.label; });
    const auto twice = std::ranges::adjacent_find(info.backups, {}, &BackupEntry::label);
    if (twice != info.backups.end())
        return Error(ErrorKind::format, "backup " + twice->label + " is listed twice");
    info.backrest_version = reader.version();
    return info;
}

std::string format_backup_info(const BackupInfo& info) {
    IniWriter ini(info.backrest_version);
    ini.section(kCurrentSection);
    for (const BackupEntry& backup : info.backups) ini.raw(backup.label, backup_entry_text(backup));
    write_cipher(ini, info.cipher_pass);
    const HistoryEntry& current = info.current();
    ini.section(kDatabaseSection);
    ini.number("db-catalog-version", current.catalog_version);
    ini.number("db-control-version", current.control_version);
    ini.number("db-id", current.id);
    ini.number("db-system-id", current.system_id);
    ini.string("db-version", current.version);
    ini.section(kHistorySection);
    for (const HistoryEntry& entry : info.history) {
        std::string value;
        put_number(value, "db-catalog-version", std::uint64_t{entry.catalog_version});
        put_number(value, "db-control-version", std::uint64_t{entry.control_version});
        put_number(value, system_id_key(HistoryForm::backup), entry.system_id);
        put_string(value, "db-version", entry.version);
        ini.raw(std::to_string(entry.id), value + '}');
    }
    return std::move(ini).finish();
}

}  // namespace chronos::repo
