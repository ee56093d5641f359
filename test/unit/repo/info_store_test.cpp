#include <gtest/gtest.h>

#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/compress/compress.h"
#include "chronos/repo/info.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixture.h"
#include "info_samples.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;
using test::Fixture;
using test::read_file;
using test::write_file;

constexpr char kFixturePass[] = "fixture-repo-pass-d";
constexpr char kFull[] = "20261120-083948F";
constexpr char kDiff[] = "20261120-083948F_20261120-083950D";
constexpr char kIncr[] = "20261120-083948F_20261120-083952I";

/// Warnings while it lives.
class Warnings {
public:
    Warnings()
        : former_(set_log_receiver(
              [this](LogLevel, std::string_view text) { lines.emplace_back(text); })) {}
    ~Warnings() { set_log_receiver(std::move(former_)); }
    std::vector<std::string> lines;

private:
    LogReceiver former_;
};

/// A repository in an empty directory.
struct Empty {
    test::TemporaryDirectory directory;
    Repository repository;
    Empty() { repository.storage = storage::make_posix_storage(directory.path()); }
};

std::string plain(const Repository& repository, const std::string& name, const std::string& pass) {
    return read_text(repository, name, pass).value();
}

/// Everything in it is read, formatted to the same bytes, and agrees with itself.
void check_repository(const Repository& repository) {
    const auto archive = load_archive_info(repository, kStanza);
    ASSERT_OK(archive);
    EXPECT_EQ(format_archive_info(*archive),
              plain(repository, "archive/main/archive.info", repository.passphrase));
    const auto info = load_backup_info(repository, kStanza);
    ASSERT_OK(info);
    EXPECT_EQ(format_backup_info(*info),
              plain(repository, "backup/main/backup.info", repository.passphrase));
    EXPECT_FALSE(info->backups.empty());
    for (const BackupEntry& entry : info->backups) {
        SCOPED_TRACE(entry.label);
        const auto manifest = load_manifest(repository, kStanza, entry.label, info->cipher_pass);
        ASSERT_OK(manifest);
        EXPECT_OK(validate_manifest(*manifest));
        EXPECT_EQ(format_manifest(*manifest),
                  plain(repository, backup_path(kStanza, entry.label) + "/backup.manifest",
                        info->cipher_pass));
        EXPECT_EQ(backup_entry_of(*manifest), entry);
    }
}

TEST(InfoStore, RepositoriesOfPgBackRestComeBackByteForByte) {
    const Fixture blocks("zst-bundle-block");
    check_repository(blocks.repository());
    const Fixture tablespace("lz4-aes-tblspc");
    check_repository(tablespace.repository(kFixturePass));
    const Fixture crafted("crafted");
    std::size_t cases = 0;
    for (const auto& entry : fs::directory_iterator(crafted.path("."))) {
        const std::string name = entry.path().filename();
        SCOPED_TRACE(name);
        check_repository(crafted.repository(name.ends_with("-aes") ? "pass-" + name : "", name));
        ++cases;
    }
    EXPECT_EQ(cases, 10u);
}

TEST(InfoStore, TheCopyStandsInForADamagedMainFile) {
    const Fixture fixture("zst-bundle-block");
    const Repository repository = fixture.repository();
    const std::string main = fixture.path() + "/backup/main/backup.info";
    const auto whole = load_backup_info(repository, kStanza);
    ASSERT_OK(whole);
    for (const std::string& damage :
         {std::string("garbage"), std::string(), std::string(100, '\0')}) {
        write_file(main, damage);
        const auto info = load_backup_info(repository, kStanza);
        ASSERT_OK(info);
        EXPECT_EQ(*info, *whole);
    }
    fs::remove(main);
    EXPECT_OK(load_backup_info(repository, kStanza));
}

TEST(InfoStore, BothFilesAreNamedWhenNeitherLoads) {
    Empty empty;
    const auto info = load_archive_info(empty.repository, kStanza);
    EXPECT_ERROR(ErrorKind::not_found, info);
    const std::string path = empty.directory.path() + "/archive/main/archive.info";
    EXPECT_EQ(info.error().text(),
              "unable to load info file '" + path + "' or '" + path + ".copy':\n" +
                  "FileMissingError: unable to open missing file '" + path + "' for read\n" +
                  "FileMissingError: unable to open missing file '" + path + ".copy' for read\n" +
                  "HINT: archive.info cannot be opened but is required to push/get WAL segments.\n"
                  "HINT: is archive_command configured correctly in postgresql.conf?\n"
                  "HINT: has a stanza-create been performed?\n"
                  "HINT: use --no-archive-check to disable archive checks during backup if you "
                  "have an alternate archiving scheme.\n"
                  "HINT: If the stanza is an old one: 'chronos --stanza=main repair' shows how to "
                  "mend it.");
    const auto manifest = load_manifest(empty.repository, kStanza, kFull, "");
    EXPECT_ERROR(ErrorKind::not_found, manifest);
    EXPECT_TRUE(manifest.error().message().starts_with("unable to load backup manifest file '"));
    EXPECT_EQ(manifest.error().hint(), "");
}

TEST(InfoStore, TheKindIsCommonOrThatOfTheFileThatExists) {
    Empty empty;
    const std::string main = empty.directory.path() + "/backup/main/backup.info";
    fs::create_directories(empty.directory.path() + "/backup/main");
    write_file(main + ".copy", "garbage\n");
    EXPECT_ERROR(ErrorKind::format, load_backup_info(empty.repository, kStanza));
    std::string damaged(kBackupInfo);
    damaged.replace(damaged.find("47652227"), 8, "47652228");
    write_file(main, damaged);
    EXPECT_ERROR(ErrorKind::file_open, load_backup_info(empty.repository, kStanza));
    write_file(main + ".copy", damaged);
    EXPECT_ERROR(ErrorKind::checksum, load_backup_info(empty.repository, kStanza));
}

// Three mistakes, three answers, and none shows what the bytes decrypt to.
TEST(InfoStore, PassphraseMistakesAreToldApart) {
    const Fixture encrypted("lz4-aes-tblspc");
    const Fixture open("zst-bundle-block");
    const auto missing = load_backup_info(encrypted.repository(), kStanza);
    EXPECT_ERROR(ErrorKind::crypto, missing);
    EXPECT_NE(missing.error().message().find("is encrypted but repo1-cipher-type is none"),
              std::string::npos);
    EXPECT_NE(missing.error().hint().find("repo1-cipher-pass"), std::string::npos);

    const auto superfluous = load_backup_info(open.repository("any"), kStanza);
    EXPECT_ERROR(ErrorKind::crypto, superfluous);
    EXPECT_NE(
        superfluous.error().message().find("is not encrypted but repo1-cipher-type is aes-256-cbc"),
        std::string::npos);
    EXPECT_NE(superfluous.error().hint().find("Remove repo1-cipher-type"), std::string::npos);

    // Enough wrong ones that some leave padding which happens to fit.
    for (int i = 0; i < 1000; ++i) {
        const std::string pass = "wrong-" + std::to_string(i);
        const auto wrong = load_archive_info(encrypted.repository(pass), kStanza);
        ASSERT_FALSE(wrong);
        ASSERT_EQ(wrong.error().kind(), ErrorKind::crypto) << wrong.error().text();
        ASSERT_NE(wrong.error().message().find("wrong passphrase"), std::string::npos);
        ASSERT_EQ(wrong.error().text().find(pass), std::string::npos);
    }
}

/// A stanza with both info files, encrypted with "outer".
struct Encrypted : Empty {
    Encrypted() {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        repository.passphrase = "outer";
        BackupInfo backup = parse_backup_info(kBackupInfo).value();
        backup.cipher_pass = "inner";
        EXPECT_OK(save_backup_info(repository, kStanza, backup));
        ArchiveInfo archive;
        archive.current_id = 1;
        archive.history = backup.history;
        archive.cipher_pass = "inner";
        EXPECT_OK(save_archive_info(repository, kStanza, archive));
    }

    /// Changes a byte of a file and of its copy.
    void damage(const std::string& name, std::size_t at) {
        for (const char* suffix : {"", ".copy"}) {
            std::string text = read_file(directory.path() + "/" + name + suffix);
            text[at] = static_cast<char>(text[at] ^ 1);
            std::ofstream(directory.path() + "/" + name + suffix) << text;
        }
    }
};

// Who is told to look for another passphrase where the file is damaged looks in vain.
TEST(InfoStore, DamageIsNotTakenForAWrongPassphraseWhereverItIs) {
    const std::string name = "backup/main/backup.info";
    const std::size_t size = read_file(Encrypted().directory.path() + "/" + name).size();
    for (std::size_t at = 8; at < size; at += 4) {
        SCOPED_TRACE(at);
        Encrypted stanza;
        stanza.damage(name, at);
        const auto loaded = load_backup_info(stanza.repository, kStanza);
        ASSERT_FALSE(loaded);
        EXPECT_NE(loaded.error().kind(), ErrorKind::crypto) << loaded.error().text();
        EXPECT_EQ(loaded.error().text().find("wrong passphrase"), std::string::npos)
            << loaded.error().text();
    }
    for (const std::size_t length : {size - 1, size - 16, std::size_t{40}, std::size_t{5}}) {
        SCOPED_TRACE(length);
        Encrypted stanza;
        for (const char* suffix : {"", ".copy"})
            std::filesystem::resize_file(stanza.directory.path() + "/" + name + suffix, length);
        const auto loaded = load_backup_info(stanza.repository, kStanza);
        ASSERT_FALSE(loaded);
        EXPECT_NE(loaded.error().kind(), ErrorKind::crypto) << loaded.error().text();
    }
    Encrypted stanza;
    stanza.repository.passphrase = "other";
    EXPECT_ERROR(ErrorKind::crypto, load_backup_info(stanza.repository, kStanza));
    stanza.damage(name, size - 1);
    EXPECT_ERROR(ErrorKind::crypto, load_backup_info(stanza.repository, kStanza));
}

TEST(InfoStore, BothFilesOfAnEncryptedPairHaveTheSameBytes) {
    Empty empty;
    empty.repository.cipher = crypto::CipherType::aes_256_cbc;
    empty.repository.passphrase = "outer";
    BackupInfo info = parse_backup_info(kBackupInfo).value();
    info.cipher_pass = "inner";
    ASSERT_OK(save_backup_info(empty.repository, kStanza, info));
    const std::string path = empty.directory.path() + "/backup/main/backup.info";
    EXPECT_EQ(read_file(path), read_file(path + ".copy"));
    EXPECT_TRUE(read_file(path).starts_with("Salted__"));
    const auto back = load_backup_info(empty.repository, kStanza);
    ASSERT_OK(back);
    EXPECT_EQ(*back, info);
}

TEST(InfoStore, TheCopyAloneDoesNotCompleteABackup) {
    Empty empty;
    ASSERT_OK(save_manifest_copy(empty.repository, kStanza, kFull, kManifest, ""));
    const std::string main = "backup/main/" + std::string(kFull) + "/backup.manifest";
    EXPECT_FALSE(storage::exists(*empty.repository.storage, main).value());
    ASSERT_OK(save_manifest(empty.repository, kStanza, kFull, kManifest, ""));
    EXPECT_EQ(plain(empty.repository, main, ""), kManifest);
    EXPECT_EQ(plain(empty.repository, main + ".copy", ""), kManifest);
}

TEST(InfoStore, TheHistoryKeepsAPackedManifestUnderTheYear) {
    Empty empty;
    empty.repository.cipher = crypto::CipherType::aes_256_cbc;
    ASSERT_OK(save_history_manifest(empty.repository, kStanza, kFull, kManifest, "inner"));
    const std::string packed = plain(
        empty.repository, "backup/main/backup.history/2026/20261120-083948F.manifest.gz", "inner");
    io::MemorySink text;
    const auto unpack =
        compress::make_decompressor(compress::CompressType::gz, compress::Form::normal, text);
    ASSERT_OK(unpack->write(io::bytes(packed)));
    ASSERT_OK(unpack->finish());
    EXPECT_EQ(text.content, kManifest);
}

TEST(Reconstruction, AHealthyRepositoryIsLeftAlone) {
    const Fixture fixture("lz4-aes-tblspc");
    const Warnings warnings;
    const auto loaded = load_backup_info_reconstructed(fixture.repository(kFixturePass), kStanza);
    ASSERT_OK(loaded);
    EXPECT_FALSE(loaded->changed);
    EXPECT_TRUE(warnings.lines.empty());
}

TEST(Reconstruction, WhatLostItsManifestGoesWithEverythingBuiltOnIt) {
    const Fixture fixture("lz4-aes-tblspc");
    fs::remove(fixture.path() + "/backup/main/" + kDiff + "/backup.manifest");
    const Warnings warnings;
    const auto loaded = load_backup_info_reconstructed(fixture.repository(kFixturePass), kStanza);
    ASSERT_OK(loaded);
    EXPECT_TRUE(loaded->changed);
    EXPECT_NE(loaded->info.find(kFull), nullptr);
    EXPECT_EQ(loaded->info.find(kDiff), nullptr);
    EXPECT_EQ(loaded->info.find(kIncr), nullptr);
    ASSERT_FALSE(warnings.lines.empty());
    EXPECT_EQ(warnings.lines[0],
              "backup '20261120-083948F_20261120-083950D' missing manifest "
              "removed from backup.info");
}

TEST(Reconstruction, CompleteBackupsThatAreNotListedAreAdded) {
    const Fixture fixture("lz4-aes-tblspc");
    const Repository repository = fixture.repository(kFixturePass);
    const BackupInfo whole = load_backup_info(repository, kStanza).value();
    BackupInfo cut = whole;
    cut.backups.erase(cut.backups.begin(), cut.backups.begin() + 2);
    ASSERT_OK(save_backup_info(repository, kStanza, cut));
    const Warnings warnings;
    const auto loaded = load_backup_info_reconstructed(repository, kStanza);
    ASSERT_OK(loaded);
    EXPECT_TRUE(loaded->changed);
    EXPECT_EQ(loaded->info, whole);
    ASSERT_EQ(warnings.lines.size(), 2u);
    EXPECT_EQ(warnings.lines[0],
              "backup '20261120-083948F' found in repository added to backup.info");
}

TEST(Reconstruction, BackupsOfAnotherClusterAreNotAdded) {
    const Fixture fixture("lz4-aes-tblspc");
    const Repository repository = fixture.repository(kFixturePass);
    BackupInfo info = load_backup_info(repository, kStanza).value();
    info.backups.clear();
    info.history.at(0).system_id ^= 1;
    ASSERT_OK(save_backup_info(repository, kStanza, info));
    const Warnings warnings;
    const auto loaded = load_backup_info_reconstructed(repository, kStanza);
    ASSERT_OK(loaded);
    EXPECT_TRUE(loaded->info.backups.empty());
    EXPECT_FALSE(loaded->changed);
    ASSERT_FALSE(warnings.lines.empty());
    EXPECT_EQ(warnings.lines[0],
              "invalid backup '20261120-083948F' cannot be added to current backups");
}

}  // namespace
}  // namespace chronos::repo
