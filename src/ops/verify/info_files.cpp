#include "ops/verify/info_files.h"

namespace chronos::ops::verify {
namespace {

/// With the passphrase of the repository, or the one before while it is given a new one.
Result<std::string> read_info(const repo::Repository& repository, const std::string& name) {
    auto text = repo::read_text(repository, name, repository.passphrase);
    if (text || repository.previous_passphrase.empty()) return text;
    auto former = repo::read_text(repository, name, repository.previous_passphrase);
    return former ? std::move(former) : std::move(text);
}

/// One of a pair: its text if it can be read and parsed. Reports where it cannot.
template <class Value>
Result<std::optional<std::string>> check_one(const Scope& scope, const std::string& directory,
                                             const std::string& file,
                                             Result<Value> (*parse)(std::string_view)) {
    const auto report = [&](const Error& error) {
        scope.findings.fail({"", file}, problem_of(error), error.message(),
                            "the stanza hangs on the other one of " + file +
                                (file.ends_with(".copy") ? " and its main file" : " and its copy"));
        return std::optional<std::string>();
    };
    auto text = read_info(scope.repository, directory + "/" + file);
    if (!text && !is_about_content(text.error())) return std::move(text).error();
    if (!text) return report(text.error());
    if (const auto value = parse(*text); !value) return report(value.error());
    return std::optional<std::string>(std::move(text).value());
}

/// False if neither of the two can be used.
template <class Value>
Result<bool> check_pair(const Scope& scope, const std::string& directory, const std::string& file,
                        Result<Value> (*parse)(std::string_view)) {
    const auto main = CHRONOS_TRY(check_one(scope, directory, file, parse));
    const auto copy = CHRONOS_TRY(check_one(scope, directory, file + ".copy", parse));
    if (main && copy && *main != *copy)
        scope.findings.fail({"", file + ".copy"}, Problem::checksum,
                            "stale: does not match " + file,
                            "what is read instead of a damaged " + file + " is out of date");
    return main || copy;
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
    const bool has_archive =
        CHRONOS_TRY(check_pair(scope, archive, "archive.info", repo::parse_archive_info));
    const bool has_backup =
        CHRONOS_TRY(check_pair(scope, backup, "backup.info", repo::parse_backup_info));
    if (!has_archive || !has_backup) return std::optional<InfoFiles>();
    InfoFiles files{CHRONOS_TRY(repo::load_archive_info(scope.repository, scope.stanza())),
                    CHRONOS_TRY(repo::load_backup_info(scope.repository, scope.stanza()))};
    compare_histories(scope, files);
    return std::optional<InfoFiles>(std::move(files));
}

}  // namespace chronos::ops::verify
