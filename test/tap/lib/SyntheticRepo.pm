# Writes repositories that have whatever backups and WAL a test likes, without a server: a second
# writer of the format beside the one under test, and quick enough for many of them. Only what
# info, expire and the other small commands read is real: info files with their checksums, names.
package SyntheticRepo;

use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Path qw(make_path);

our @EXPORT_OK = qw(write_file info_text write_info segment);

sub write_file
{
	my ($name, $content) = @_;
	make_path(dirname($name));
	open my $out, '>', $name or die "$name: $!";
	print $out $content;
	close $out or die "$name: $!";
	return;
}

# [[section, [key, value text], ...], ...] as the format has it, checksum included.
sub info_text
{
	my (@sections) = @_;
	unshift @sections, [ 'backrest', [ 'backrest-format', 5 ], [ 'backrest-version', '"2.45"' ] ];
	my ($text, $hashed) = ('', '{');
	for my $section (@sections)
	{
		my ($name, @entries) = @$section;
		$text .= "[$name]\n" . join('', map { "$_->[0]=$_->[1]\n" } @entries) . "\n";
		$hashed .= ',' if $hashed ne '{';
		$hashed .= "\"$name\":{" . join(',', map { "\"$_->[0]\":$_->[1]" } @entries) . '}';
	}
	return $text . "[backrest]\nbackrest-checksum=\"" . sha1_hex("$hashed}") . "\"\n";
}

sub write_info
{
	my ($name, @sections) = @_;
	write_file($_, info_text(@sections)) for $name, "$name.copy";
	return;
}

sub segment
{
	my ($timeline, $number) = @_;
	return sprintf '%08X%08X%08X', $timeline, $number / 256, $number % 256;
}

# $class->new(path, version): the stanza "main" of a cluster of PostgreSQL 15, or `version`.
sub new
{
	my ($class, $path, $version) = @_;
	return bless({ path => $path, history => [ [ 1, $version // '15', 7710000000000000001 ] ], backups => {} }, $class);
}

# A further cluster, which becomes the current one.
sub upgrade
{
	my ($self, $version) = @_;
	my $id = @{ $self->{history} } + 1;
	push @{ $self->{history} }, [ $id, $version, 7710000000000000000 + $id ];
	return;
}

sub archive_id
{
	my ($self, $id) = @_;
	return $self->{history}[ $id - 1 ][1] . "-$id";
}

# A listed backup. %backup: prior, start and stop (segment names; none: offline), time (of its end),
# took, size, stored (bytes), annotations (JSON object).
sub backup
{
	my ($self, $label, %backup) = @_;
	my $prior = $backup{prior};
	my @references = $prior ? (@{ $self->{backups}{$prior}{references} }, $prior) : ();
	$self->{backups}{$label} =
	  { %backup, references => \@references, id => $backup{id} // scalar @{ $self->{history} } };
	my $dir = "$self->{path}/backup/main/$label";
	write_file("$dir/$_", 'not looked at') for qw(backup.manifest backup.manifest.copy pg_data/PG_VERSION);
	write_file("$self->{path}/backup/main/backup.history/" . substr($label, 0, 4) . "/$label.manifest.gz", 'x');
	return;
}

sub wal
{
	my ($self, $id, $segment, $suffix) = @_;
	my $dir = "$self->{path}/archive/main/" . $self->archive_id($id);
	write_file("$dir/" . substr($segment, 0, 16) . "/$segment" . ($suffix // '-' . '0' x 40 . '.gz'), 'x');
	return;
}

sub entry
{
	my ($self, $label) = @_;
	my $backup = $self->{backups}{$label};
	my $quoted = sub { defined $_[0] ? "\"$_[0]\"" : 'null' };
	my $type = { F => 'full', D => 'diff', I => 'incr' }->{ substr $label, -1 };
	my $base = '';
	$base = '"backup-prior":"' . $backup->{prior} . '","backup-reference":['
	  . join(',', map { "\"$_\"" } @{ $backup->{references} }) . '],'
	  if $backup->{prior};
	my $online = defined $backup->{start} ? 'true' : 'false';
	my $time = $backup->{time} // 1795161465;
	my $began = $time - ($backup->{took} // 0);
	my ($size, $stored) = ($backup->{size} // 47652227, $backup->{stored} // 6236335);
	return
	    '{"backrest-format":5,"backrest-version":"2.45",'
	  . (defined $backup->{annotations} ? "\"backup-annotation\":$backup->{annotations}," : '')
	  . '"backup-archive-start":'
	  . $quoted->($backup->{start})
	  . ',"backup-archive-stop":'
	  . $quoted->($backup->{stop})
	  . ",\"backup-error\":false,\"backup-info-repo-size\":$stored,\"backup-info-repo-size-delta\":$stored,"
	  . "\"backup-info-size\":$size,\"backup-info-size-delta\":$size,"
	  . ($online eq 'true' ? '"backup-lsn-start":"0/3000028","backup-lsn-stop":"0/3000530",' : '')
	  . "$base\"backup-timestamp-start\":$began,\"backup-timestamp-stop\":$time,"
	  . "\"backup-type\":\"$type\",\"db-id\":$backup->{id},"
	  . '"option-archive-check":true,"option-archive-copy":false,"option-backup-standby":false,'
	  . "\"option-checksum-page\":true,\"option-compress\":true,\"option-hardlink\":false,\"option-online\":$online}";
}

# Writes the info files of all that was added.
sub save
{
	my ($self) = @_;
	my ($id, $version, $system) = @{ $self->{history}[-1] };
	my @numbers = ([ 'db-catalog-version', 202209061 ], [ 'db-control-version', 1300 ]);
	my @current = ([ 'db-id', $id ], [ 'db-system-id', $system ], [ 'db-version', "\"$version\"" ]);
	my @labels = sort keys %{ $self->{backups} };
	my @listed = map { [ $_, $self->entry($_) ] } @labels;
	write_info("$self->{path}/archive/main/archive.info",
		[ 'db', @current ],
		[ 'db:history', map { [ $_->[0], "{\"db-id\":$_->[2],\"db-version\":\"$_->[1]\"}" ] } @{ $self->{history} } ]);
	write_info("$self->{path}/backup/main/backup.info",
		(@listed ? [ 'backup:current', @listed ] : ()),
		[ 'db', @numbers, @current ],
		[ 'db:history', map { [ $_->[0],
			'{"db-catalog-version":202209061,"db-control-version":1300,'
			  . "\"db-system-id\":$_->[2],\"db-version\":\"$_->[1]\"}" ] } @{ $self->{history} } ]);
	symlink $labels[-1], "$self->{path}/backup/main/latest" if @labels;
	return;
}

# The labels that backup.info of a repository lists.
sub listed
{
	my ($path) = @_;
	open my $in, '<', "$path/backup/main/backup.info" or return ('no backup.info');
	return grep { defined } map { /^(\d{8}-\d{6}F\S*?)=\{/ ? $1 : undef } <$in>;
}

1;
