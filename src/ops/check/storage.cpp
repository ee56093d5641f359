#include "ops/check/storage.h"

#include <unistd.h>

#include "chronos/repo/empty_paths.h"
#include "chronos/repo/side_files.h"
#include "chronos/storage/s3/s3_storage.h"

namespace chronos::ops::check {
namespace {

constexpr std::string_view kContent = "chronos check";

class Trial {
public:
    Trial(const repo::Repository& repository, const std::string& stanza)
        : repository_(repository),
          storage_(*repository.storage),
          test_("repo" + std::to_string(repository.key) + " storage"),
          directory_("chronos/" + stanza + "/check"),
          object_(directory_ + "/" + std::to_string(getpid()) + "-" + std::to_string(unix_now())) {}

    std::vector<CheckFinding> run();

private:
    bool works(const char* what, const Result<>& result);
    void works_if_wanted(const char* what, const Result<>& result);
    Result<> try_read();
    Result<> try_list();
    void try_parts();

    const repo::Repository& repository_;
    storage::Storage& storage_;
    const std::string test_;
    const std::string directory_;
    const storage::ObjectName object_;
    std::string done_;
    std::vector<CheckFinding> findings_;
};

bool Trial::works(const char* what, const Result<>& result) {
    if (result) {
        done_ += (done_.empty() ? "" : ", ") + std::string(what);
        return true;
    }
    const Error& error = result.error();
    findings_.push_back(
        {test_ + " " + what, CheckStatus::failure, error.message(), error.hint(), error.kind()});
    return false;
}

/// For what only tidies up: its lack is no reason to be without backups.
void Trial::works_if_wanted(const char* what, const Result<>& result) {
    if (works(what, result)) return;
    findings_.back().status = CheckStatus::note;
    findings_.back().kind.reset();
}

Result<> Trial::try_read() {
    const std::string content = CHRONOS_TRY(storage::read_object(storage_, object_, 4096));
    if (content == kContent) return {};
    return Error(ErrorKind::checksum,
                 "'" + storage_.describe(object_) + "' does not hold what was just written to it");
}

Result<> Trial::try_list() {
    CHRONOS_TRY(storage_.list(directory_));
    return {};
}

void Trial::try_parts() {
    storage::MultipartUploads* uploads = storage_.uploads();
    if (uploads == nullptr) return;
    const auto upload = uploads->begin(object_);
    if (!upload) {
        works("upload in parts", upload.error());
        return;
    }
    works("upload in parts", {});
    works_if_wanted("abort of uploads", uploads->abort(*upload));
    const auto pending = uploads->pending();
    works_if_wanted("list of uploads", pending ? Result<>() : Result<>(pending.error()));
}

std::vector<CheckFinding> Trial::run() {
    works("list", try_list());
    if (works("write", repo::write_side_file(repository_, object_, kContent))) {
        works("read", try_read());
        if (works("remove", storage_.remove(object_)))
            repo::remove_empty_paths(storage_, directory_);
        try_parts();
    }
    std::vector<CheckFinding> all;
    if (!done_.empty())
        all.push_back(
            {test_, CheckStatus::ok, "'" + storage_.describe("") + "': " + done_, "", {}});
    all.insert(all.end(), findings_.begin(), findings_.end());
    return all;
}

}  // namespace

std::vector<CheckFinding> check_storage(const repo::Repository& repository,
                                        const std::string& stanza) {
    return Trial(repository, stanza).run();
}

}  // namespace chronos::ops::check
