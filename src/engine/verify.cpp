#include "chronos/requests/verify_request.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;
using ops::verify::VerifyFinding;
using ops::verify::VerifyResult;

void send_finding(Channel& channel, const VerifyFinding& finding) {
    channel.send(Message("finding")
                     .with("status", ops::verify::finding_status_name(finding.status))
                     .with("problem", ops::verify::problem_name(finding.problem))
                     .with("repo", std::uint64_t{finding.repo_key})
                     .with("where", finding.where)
                     .with("file", finding.file)
                     .with("message", finding.message)
                     .with("consequence", finding.consequence));
}

}  // namespace

Result<> serve_verify(requests::Context& context, Channel& channel) {
    const auto request = CHRONOS_TRY(requests::verify_request(context.config));
    const VerifyResult result =
        CHRONOS_TRY(ops::verify::run_verify(request, context.progress, context.cancel));
    std::uint64_t backups = 0;
    std::uint64_t files = 0;
    std::uint64_t wal = 0;
    std::uint64_t bytes = 0;
    std::uint64_t page_errors = 0;
    for (const auto& repository : result.repositories) {
        for (const auto& backup : repository.backups) {
            files += backup.files.total;
            page_errors += backup.page_errors ? 1 : 0;
        }
        for (const auto& archive : repository.archives) wal += archive.wal.total;
        backups += repository.backups.size();
        bytes += repository.bytes_read;
    }
    for (const VerifyFinding& finding : result.findings) send_finding(channel, finding);
    channel.send(Message("done")
                     .with("failures", result.failures())
                     .with("notes", result.findings.size() - result.failures())
                     .with("backups", backups)
                     .with("page_errors", page_errors)
                     .with("files", files)
                     .with("wal", wal)
                     .with("bytes_read", bytes));
    return {};
}

}  // namespace chronos::engine
