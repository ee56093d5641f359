#include "chronos/ops/rekey/rekey.h"

#include <memory>
#include <optional>
#include <set>

#include "chronos/base/log.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::rekey {
namespace {

/// A file as it was found: its text, and what opened it.
struct Opened {
    std::string text;
    std::string pass;
};

/// archive.info or backup.info of a stanza with its copy.
struct InfoPair {
    std::string stanza;
    std::string name;
    bool of_archive = false;
    std::optional<Opened> main;
    std::optional<Opened> copy;

    /// The main file counts, as for every reader.
    const std::string& text() const { return main ? main->text : copy->text; }
};

bool is_wanted(const std::optional<Opened>& file, const InfoPair& pair, const std::string& pass) {
    return file && file->pass == pass && file->text == pair.text();
}

class Run {
public:
    Run(const RekeyRequest& request, const Cancellation& cancel)
        : request_(request),
          repository_(request.repository),
          storage_(*request.repository.storage),
          cancel_(cancel),
          target_(request.phase == Phase::prepare ? request.new_passphrase
                                                  : request.repository.passphrase) {}

    Result<std::vector<RekeyedFile>> go() {
        CHRONOS_TRY(find_stanzas());
        CHRONOS_TRY(lock_stanzas());
        CHRONOS_TRY(read_all());
        // A stop half way is harmless, but there is nothing to gain from it any more.
        CHRONOS_TRY(cancel_.check());
        if (request_.phase == Phase::prepare) CHRONOS_TRY(write_mains(repository_.passphrase));
        CHRONOS_TRY(write_copies());
        if (request_.phase != Phase::prepare) CHRONOS_TRY(write_mains(target_));
        CHRONOS_TRY(check_all());
        return std::move(done_);
    }

private:
    Result<> find_stanzas();
    Result<> lock_stanzas();
    Result<> read_all();
    Result<> read_pair(const std::string& stanza, const std::string& name, bool of_archive);
    Result<std::optional<Opened>> open(const std::string& name, bool of_archive);
    Result<> write_copies();
    Result<> write_mains(const std::string& pass);
    Result<> write(const InfoPair& pair, const std::string& name, const std::string& pass,
                   const std::string& reason);
    Result<> check_all();
    Error unreadable(const std::string& name) const;

    const RekeyRequest& request_;
    const repo::Repository& repository_;
    storage::Storage& storage_;
    const Cancellation& cancel_;
    const std::string target_;  // opens everything afterwards
    std::set<std::string> stanzas_;
    std::vector<std::vector<std::unique_ptr<repo::Lock>>> locks_;
    std::vector<std::unique_ptr<repo::Lease>> leases_;  ///< the same against other hosts
    std::vector<InfoPair> pairs_;
    std::vector<RekeyedFile> done_;
};

Result<> Run::find_stanzas() {
    for (const char* directory : {"archive", "backup"})
        for (const storage::Entry& entry : CHRONOS_TRY(storage_.list(directory)))
            if (entry.type == storage::EntryType::path) stanzas_.insert(entry.name);
    return {};
}

Result<> Run::lock_stanzas() {
    for (const std::string& stanza : stanzas_) {
        locks_.push_back(
            CHRONOS_TRY(repo::lock_stanza({request_.lock_path, stanza, repo::LockType::archive,
                                           repository_.key, request_.exec_id})));
        leases_.push_back(
            CHRONOS_TRY(repo::Lease::take(repository_, {stanza, "rekey", request_.exec_id})));
    }
    return {};
}

Result<> Run::read_all() {
    for (const std::string& stanza : stanzas_) {
        CHRONOS_TRY(read_pair(stanza, repo::archive_info_name(stanza), true));
        CHRONOS_TRY(read_pair(stanza, repo::backup_info_name(stanza), false));
    }
    if (!pairs_.empty()) return {};
    return Error(ErrorKind::not_found, "repository '" + storage_.describe("") +
                                           "' has no stanza whose passphrase could be changed");
}

Result<> Run::read_pair(const std::string& stanza, const std::string& name, bool of_archive) {
    const bool any = CHRONOS_TRY(storage::exists(storage_, name)) ||
                     CHRONOS_TRY(storage::exists(storage_, name + ".copy"));
    if (!any) return {};  // a directory that is no stanza, or not yet
    InfoPair pair{stanza, name, of_archive, {}, {}};
    pair.main = CHRONOS_TRY(open(name, of_archive));
    pair.copy = CHRONOS_TRY(open(name + ".copy", of_archive));
    if (!pair.main && !pair.copy) return unreadable(name);
    pairs_.push_back(std::move(pair));
    return {};
}

/// With whichever passphrase opens it; nullopt if none does, or if it is missing or damaged.
Result<std::optional<Opened>> Run::open(const std::string& name, bool of_archive) {
    for (const std::string& pass :
         {repository_.passphrase, repository_.previous_passphrase, request_.new_passphrase}) {
        if (pass.empty()) continue;
        Result<std::string> text = repo::read_text(repository_, name, pass);
        if (!text && text.error().kind() != ErrorKind::crypto &&
            text.error().kind() != ErrorKind::format && text.error().kind() != ErrorKind::not_found)
            return std::move(text).error();
        // One wrong passphrase in 256 yields padding that fits: the content decides.
        if (text && (of_archive ? static_cast<bool>(repo::parse_archive_info(*text))
                                : static_cast<bool>(repo::parse_backup_info(*text))))
            return std::optional(Opened{std::move(*text), pass});
    }
    return std::optional<Opened>();
}

Error Run::unreadable(const std::string& name) const {
    const std::string option = "repo" + std::to_string(repository_.key) + "-cipher-pass";
    return Error(ErrorKind::crypto, "unable to open '" + storage_.describe(name) +
                                        "' with any of the passphrases at hand")
        .with_hint("Nothing was changed.")
        .with_hint("Set " + option + "-previous to the passphrase that the repository had so far.");
}

Result<> Run::write(const InfoPair& pair, const std::string& name, const std::string& pass,
                    const std::string& reason) {
    const auto read_back = [&](std::string_view text) -> Result<> {
        if (pair.of_archive)
            CHRONOS_TRY(repo::parse_archive_info(text));
        else
            CHRONOS_TRY(repo::parse_backup_info(text));
        return {};
    };
    for (const auto& lease : leases_)
        if (lease) CHRONOS_TRY(lease->prove());
    CHRONOS_TRY(repo::write_text(repository_, name, pair.text(), pass, read_back));
    log_info("repo" + std::to_string(repository_.key) + ": " + name + " written, " + reason);
    done_.push_back({pair.stanza, name, true, reason});
    return {};
}

/// Copies go first, all of them: from then on the new passphrase opens everything.
Result<> Run::write_copies() {
    for (InfoPair& pair : pairs_) {
        const std::string name = pair.name + ".copy";
        if (is_wanted(pair.copy, pair, target_)) {
            done_.push_back({pair.stanza, name, false, "has the new passphrase already"});
            continue;
        }
        CHRONOS_TRY(write(pair, name, target_, "with the new passphrase"));
        pair.copy = Opened{pair.text(), target_};
    }
    return {};
}

/// With the new passphrase, or when preparing with the old one, where it had been lost: its copy is
/// about to be out of reach of who has only that.
Result<> Run::write_mains(const std::string& pass) {
    const bool renewed = pass == target_;
    for (InfoPair& pair : pairs_) {
        if (is_wanted(pair.main, pair, pass)) {
            done_.push_back({pair.stanza, pair.name, false,
                             renewed ? "has the new passphrase already"
                                     : "keeps the old passphrase until the configuration is "
                                       "switched"});
            continue;
        }
        CHRONOS_TRY(write(pair, pair.name, pass,
                          renewed ? "with the new passphrase" : "restored from its copy"));
        pair.main = Opened{pair.text(), pass};
    }
    return {};
}

/// Reads everything once more, as somebody would who has only the new passphrase.
Result<> Run::check_all() {
    repo::Repository renewed = repository_;
    renewed.passphrase = target_;
    renewed.previous_passphrase.clear();
    for (const InfoPair& pair : pairs_) {
        if (pair.of_archive)
            CHRONOS_TRY(repo::load_archive_info(renewed, pair.stanza));
        else
            CHRONOS_TRY(repo::load_backup_info(renewed, pair.stanza));
    }
    return {};
}

Result<> check_request(const RekeyRequest& request) {
    const repo::Repository& repository = request.repository;
    const std::string option = "repo" + std::to_string(repository.key) + "-cipher-pass";
    if (!repository.encrypted())
        return Error(ErrorKind::option_invalid,
                     "repo" + std::to_string(repository.key) + " is not encrypted")
            .with_hint("A repository is encrypted from its first stanza on, or never.");
    const bool prepares = request.phase == Phase::prepare;
    if (prepares && request.new_passphrase.empty())
        return Error(ErrorKind::option_required, "rekey command requires option: new-cipher-pass")
            .with_hint(
                "Put the new passphrase into CHRONOS_NEW_CIPHER_PASS, or into a file named "
                "by --new-cipher-pass-file.");
    if (prepares && request.new_passphrase == repository.passphrase)
        return Error(ErrorKind::option_invalid_value, "the new passphrase is the one in " + option);
    if (!prepares && !request.new_passphrase.empty())
        return Error(ErrorKind::option_invalid,
                     "option 'new-cipher-pass' not valid without option 'phase' = 'prepare'")
            .with_hint("Otherwise the new passphrase is the one in " + option +
                       ", so that the configuration opens the repository afterwards.");
    if (request.phase == Phase::whole && repository.previous_passphrase.empty())
        return Error(ErrorKind::option_required,
                     "rekey command requires option: " + option + "-previous")
            .with_hint("Set " + option + " to the new passphrase and " + option +
                       "-previous to the old one; or use --phase=prepare and --phase=finish.");
    return {};
}

}  // namespace

Result<std::vector<RekeyedFile>> rekey(const RekeyRequest& request, const Cancellation& cancel) {
    CHRONOS_TRY(check_request(request));
    return Run(request, cancel).go();
}

}  // namespace chronos::ops::rekey
