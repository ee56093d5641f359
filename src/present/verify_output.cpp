#include "chronos/present/verify_output.h"

#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/present/json_text.h"

namespace chronos::present {
namespace {

using namespace ops::verify;
using nlohmann::json;

bool has_problem(const VerifyCounts& counts) {
    return counts.valid < counts.total;
}

/// "    missing: 1, checksum invalid: 2"; without `verbose` only what is not 0.
std::string problems_line(const VerifyCounts& counts, bool verbose) {
    std::string line;
    const auto add = [&](const char* name, std::uint64_t count) {
        if (!verbose && count == 0) return;
        line += (line.empty() ? "    " : ", ") + std::string(name) + ": " + std::to_string(count);
    };
    add("missing", counts.missing);
    add("checksum invalid", counts.checksum);
    add("size invalid", counts.size);
    add("other", counts.other);
    return line.empty() ? line : line + "\n";
}

std::string repository_text(const VerifiedRepository& repository, bool verbose) {
    std::string text;
    for (const VerifiedArchive& archive : repository.archives)
        if (verbose || has_problem(archive.wal))
            text += "  archiveId: " + archive.id +
                    ", total WAL checked: " + std::to_string(archive.wal.total) +
                    ", total valid WAL: " + std::to_string(archive.wal.valid) + "\n" +
                    problems_line(archive.wal, verbose);
    if (verbose && repository.archives.empty()) text += "  archiveId: none found\n";
    for (const VerifiedBackup& backup : repository.backups)
        if (verbose || backup.verdict != BackupVerdict::valid)
            text += "  backup: " + backup.label +
                    ", status: " + std::string(verdict_name(backup.verdict)) +
                    ", total files checked: " + std::to_string(backup.files.total) +
                    ", total valid files: " + std::to_string(backup.files.valid) + "\n" +
                    problems_line(backup.files, verbose);
    if (verbose && repository.backups.empty()) text += "  backup: none found\n";
    return text;
}

std::string reading_text(const VerifiedRepository& repository) {
    return "  read: " + std::to_string(repository.objects_read) + " objects, " +
           format_size(repository.bytes_read) +
           "; found good before, and unchanged: " + std::to_string(repository.objects_known) +
           " objects\n";
}

std::string finding_text(const VerifyFinding& finding) {
    std::string text = "  " + std::string(finding_status_name(finding.status)) + ": repo" +
                       std::to_string(finding.repo_key);
    if (!finding.where.empty()) text += ": " + finding.where;
    if (!finding.file.empty()) text += ": " + printable(finding.file);
    text += ": " + finding.message + "\n";
    if (!finding.consequence.empty()) text += "    consequence: " + finding.consequence + "\n";
    return text;
}

json counts_json(const VerifyCounts& counts) {
    return {{"total", counts.total},       {"valid", counts.valid}, {"missing", counts.missing},
            {"checksum", counts.checksum}, {"size", counts.size},   {"other", counts.other}};
}

json repository_json(const VerifiedRepository& repository) {
    json archives = json::array();
    for (const VerifiedArchive& archive : repository.archives)
        archives.push_back({{"id", archive.id}, {"wal", counts_json(archive.wal)}});
    json backups = json::array();
    for (const VerifiedBackup& backup : repository.backups)
        backups.push_back({{"label", backup.label},
                           {"status", verdict_name(backup.verdict)},
                           {"files", counts_json(backup.files)}});
    return {{"repo", repository.repo_key},
            {"archive", std::move(archives)},
            {"backup", std::move(backups)},
            {"read", {{"objects", repository.objects_read}, {"bytes", repository.bytes_read}}},
            {"known", {{"objects", repository.objects_known}}}};
}

}  // namespace

std::string verify_text(const std::string& stanza, const VerifyResult& result, bool verbose) {
    const bool failed = result.failures() > 0;
    if (!failed && !verbose) return "";
    std::string text = "stanza: " + stanza + "\nstatus: " + (failed ? "error" : "ok") + "\n";
    for (const VerifiedRepository& repository : result.repositories) {
        if (result.repositories.size() > 1)
            text += "  repo" + std::to_string(repository.repo_key) + "\n";
        text += repository_text(repository, verbose);
        if (verbose) text += reading_text(repository);
    }
    std::string findings;
    for (const VerifyFinding& finding : result.findings)
        if (verbose || finding.status == FindingStatus::failure) findings += finding_text(finding);
    return findings.empty() ? text : text + "findings:\n" + findings;
}

std::string verify_json(const std::string& stanza, const VerifyResult& result) {
    json findings = json::array();
    for (const VerifyFinding& finding : result.findings)
        findings.push_back({{"repo", finding.repo_key},
                            {"status", finding_status_name(finding.status)},
                            {"problem", problem_name(finding.problem)},
                            {"where", finding.where},
                            {"file", finding.file},
                            {"message", finding.message},
                            {"consequence", finding.consequence}});
    json repositories = json::array();
    for (const VerifiedRepository& repository : result.repositories)
        repositories.push_back(repository_json(repository));
    const json document = {{"stanza", stanza},
                           {"status", result.failures() > 0 ? "error" : "ok"},
                           {"repository", std::move(repositories)},
                           {"finding", std::move(findings)}};
    // Names of files in a repository need not be UTF-8.
    return text_of(document) + "\n";
}

}  // namespace chronos::present
