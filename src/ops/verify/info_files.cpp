#include "ops/verify/info_files.h"

#include "chronos/repo/passphrase.h"

namespace chronos::ops::verify {
namespace {

/// One of the four files: its text if it can be read and parsed, or why not.
struct InfoText {
    std::string file;
    std::optional<std::string> text;
    std::optional<Error> error;

    bool opened = false;  ///< the passphrase is right, whatever else is wrong

    bool is_closed() const { return error && error->kind() == ErrorKind::crypto; }
};

template <class Value>
Result<InfoText> read_one(const Scope& scope, const std::string& directory, std::string file,
                          Result<Value> (*parse)(std::string_view)) {
    InfoText result{.file = std::move(file), .text = {}, .error = {}};
    auto text = repo::read_info_text(scope.repository, directory + "/" + result.file);
    if (!text && !is_about_content(text.error())) return std::move(text).error();
    result.opened = static_cast<bool>(text);
    if (!text)
        result.error = std::move(text).error();
    else if (auto value = parse(*text); !value)
        result.error = std::move(value).error();
    else
        result.text = std::move(*text);
    return result;
}

struct InfoPair {
    InfoText main;
    InfoText copy;
};

template <class Value>
Result<InfoPair> read_pair(const Scope& scope, const std::string& directory,
                           const std::string& file, Result<Value> (*parse)(std::string_view)) {
    auto main = CHRONOS_TRY(read_one(scope, directory, file, parse));
    auto copy = CHRONOS_TRY(read_one(scope, directory, file + ".copy", parse));
    return InfoPair{std::move(main), std::move(copy)};
}

/// Four files that were encrypted one by one, and none of them opens: that is not damage. Nothing
/// can be said of what the repository holds.
Result<> check_passphrase(const InfoPair& archive, const InfoPair& backup) {
    const InfoText* closed = nullptr;
    for (const InfoText* one : {&archive.main, &archive.copy, &backup.main, &backup.copy}) {
        if (one->opened) return {};
        if (closed == nullptr && one->is_closed()) closed = one;
    }
    return closed == nullptr ? Result<>() : Result<>(*closed->error);
}

void report(const Scope& scope, const InfoText& one, const InfoText& other) {
    if (!one.error) return;
    scope.findings.fail({"", one.file}, problem_of(*one.error), one.error->message(),
                        other.text ? "the stanza hangs on " + other.file
                                   : "there is no " + other.file + " to take its place either");
}

/// False if neither of the two can be used.
bool report_pair(const Scope& scope, const InfoPair& pair) {
    report(scope, pair.main, pair.copy);
    report(scope, pair.copy, pair.main);
    if (pair.main.text && pair.copy.text && *pair.main.text != *pair.copy.text)
        scope.findings.fail(
            {"", pair.copy.file}, Problem::checksum, "stale: does not match " + pair.main.file,
            "what is read instead of a damaged " + pair.main.file + " is out of date");
    return pair.main.text || pair.copy.text;
}

void compare_histories(const Scope& scope, const InfoFiles& files) {
    const auto report = [&](const std::string& message) {
        scope.findings.fail({"", "backup.info"}, Problem::other, message,
                            "backups and WAL cannot be matched");
    };
    if (files.archive.history.size() != files.backup.history.size())
        return report("has another history than archive.info");
    for (std::size_t i = 0; i < files.archive.history.size(); ++i) {
        const repo::HistoryEntry& one = files.archive.history[i];
        const repo::HistoryEntry& other = files.backup.history[i];
        if (one.id != other.id || !one.same_cluster(other))
            return report("has another history than archive.info");
    }
    if (files.archive.current_id != files.backup.current_id)
        report("has another current cluster than archive.info");
}

}  // namespace

Result<std::optional<InfoFiles>> verify_info_files(const Scope& scope) {
    const std::string archive = repo::archive_path(scope.stanza());
    const std::string backup = repo::backup_path(scope.stanza());
    const InfoPair archive_pair =
        CHRONOS_TRY(read_pair(scope, archive, "archive.info", repo::parse_archive_info));
    const InfoPair backup_pair =
        CHRONOS_TRY(read_pair(scope, backup, "backup.info", repo::parse_backup_info));
    CHRONOS_TRY(check_passphrase(archive_pair, backup_pair));
    const bool has_archive = report_pair(scope, archive_pair);
    const bool has_backup = report_pair(scope, backup_pair);
    if (!has_archive || !has_backup) return std::optional<InfoFiles>();
    auto archive_info = CHRONOS_TRY(repo::load_archive_info(scope.repository, scope.stanza()));
    auto backup_info = CHRONOS_TRY(repo::load_backup_info(scope.repository, scope.stanza()));
    InfoFiles files{std::move(archive_info), std::move(backup_info)};
    compare_histories(scope, files);
    return std::optional<InfoFiles>(std::move(files));
}

}  // namespace chronos::ops::verify
