#include "ops/verify/findings.h"

#include <algorithm>
#include <tuple>

#include "chronos/base/log.h"
#include "chronos/base/text.h"

namespace chronos::ops::verify {
namespace {

/// "backups A, B and 3 more"
std::string names_of(const std::set<std::string>& labels) {
    constexpr std::size_t kNamesMax = 8;
    std::vector<std::string> names(labels.begin(), labels.end());
    const std::size_t more = names.size() > kNamesMax ? names.size() - kNamesMax : 0;
    names.resize(names.size() - more);
    return (labels.size() == 1 ? "backup " : "backups ") + join(names, ", ") +
           (more > 0 ? " and " + std::to_string(more) + " more" : "");
}

std::string place_text(const VerifyFinding& finding) {
    std::string place = "repo" + std::to_string(finding.repo_key);
    if (!finding.where.empty()) place += ": " + finding.where;
    if (!finding.file.empty()) place += ": " + printable(finding.file);
    return place;
}

}  // namespace

FindingId Findings::fail(Place place, Problem problem, std::string message,
                         std::string consequence) {
    const std::lock_guard lock(mutex_);
    items_.push_back({{repo_key_, FindingStatus::failure, problem, std::move(place.where),
                       std::move(place.file), std::move(message), std::move(consequence)},
                      {}});
    const VerifyFinding& finding = items_.back().finding;
    log_detail(place_text(finding) + ": " + finding.message);
    return static_cast<FindingId>(items_.size() - 1);
}

void Findings::note(Place place, std::string message) {
    const std::lock_guard lock(mutex_);
    items_.push_back({{repo_key_, FindingStatus::note, Problem::other, std::move(place.where),
                       std::move(place.file), std::move(message), ""},
                      {}});
}

void Findings::affect(FindingId id, const std::string& label) {
    const std::lock_guard lock(mutex_);
    items_[id].affected.insert(label);
}

void Findings::explain(FindingId id, const std::string& consequence) {
    const std::lock_guard lock(mutex_);
    items_[id].finding.consequence = consequence;
}

Problem Findings::problem_of(FindingId id) const {
    const std::lock_guard lock(mutex_);
    return items_[id].finding.problem;
}

void Findings::drop(const std::string& where) {
    const std::lock_guard lock(mutex_);
    for (Item& item : items_) {
        item.affected.erase(where);
        if (item.finding.where == where) item.dropped = true;
    }
}

bool Findings::any_failure() const {
    const std::lock_guard lock(mutex_);
    return std::any_of(items_.begin(), items_.end(), [](const Item& item) {
        return !item.dropped && item.finding.status == FindingStatus::failure;
    });
}

std::vector<VerifyFinding> Findings::take() {
    const std::lock_guard lock(mutex_);
    std::vector<VerifyFinding> findings;
    for (Item& item : items_) {
        if (item.dropped) continue;
        if (!item.affected.empty())
            item.finding.consequence = names_of(item.affected) + " cannot be restored";
        findings.push_back(std::move(item.finding));
    }
    items_.clear();
    std::ranges::stable_sort(findings, {}, [](const VerifyFinding& finding) {
        return std::tie(finding.where, finding.file);
    });
    return findings;
}

bool is_about_content(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::cancelled:
        case ErrorKind::memory:
        case ErrorKind::internal:
        case ErrorKind::host_connect:
        case ErrorKind::service: return false;
        default: return true;
    }
}

Problem problem_of(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::not_found: return Problem::missing;
        case ErrorKind::checksum:
        case ErrorKind::format:
        case ErrorKind::crypto: return Problem::checksum;
        case ErrorKind::file_read: return Problem::size;
        default: return Problem::other;
    }
}

std::string_view finding_status_name(FindingStatus status) {
    return status == FindingStatus::note ? "note" : "failure";
}

std::string_view problem_name(Problem problem) {
    switch (problem) {
        case Problem::missing: return "missing";
        case Problem::checksum: return "checksum";
        case Problem::size: return "size";
        case Problem::other: break;
    }
    return "other";
}

std::string_view verdict_name(BackupVerdict verdict) {
    switch (verdict) {
        case BackupVerdict::valid: return "valid";
        case BackupVerdict::invalid: return "invalid";
        case BackupVerdict::manifest_missing: return "manifest missing";
        case BackupVerdict::in_progress: break;
    }
    return "in-progress";
}

void VerifyCounts::add(Problem problem) {
    ++total;
    switch (problem) {
        case Problem::missing: ++missing; break;
        case Problem::checksum: ++checksum; break;
        case Problem::size: ++size; break;
        case Problem::other: ++other; break;
    }
}

std::uint64_t VerifyResult::failures() const {
    return static_cast<std::uint64_t>(
        std::ranges::count(findings, FindingStatus::failure, &VerifyFinding::status));
}

Result<> verify_outcome(const VerifyResult& result) {
    const std::uint64_t failures = result.failures();
    if (failures == 0) return {};
    const VerifyFinding& first =
        *std::ranges::find(result.findings, FindingStatus::failure, &VerifyFinding::status);
    const bool closed = std::ranges::all_of(result.findings, [](const VerifyFinding& finding) {
        return finding.closed || finding.status != FindingStatus::failure;
    });
    Error error(closed ? ErrorKind::crypto : ErrorKind::file_invalid,
                std::to_string(failures) + (failures == 1 ? " problem" : " problems") +
                    " found, the first: " + place_text(first) + ": " + first.message);
    if (first.consequence.empty()) return error;
    return std::move(error).with_hint("Consequence: " + first.consequence + ".");
}

}  // namespace chronos::ops::verify
