<?php

declare(strict_types=1);

// The member's page: a form to sign in to the site, then the chat.
require __DIR__ . '/site.php';

start_session();
if ($_SERVER['REQUEST_METHOD'] === 'POST' && is_from_here()) {
    $name = (string) ($_POST['member'] ?? '');
    if (password_verify((string) ($_POST['password'] ?? ''), MEMBERS[$name]['password'] ?? '')) {
        session_regenerate_id(true);
        $_SESSION = ['csrf' => bin2hex(random_bytes(16)), 'member' => $name];
    }
    header('Location: ./', true, 303);
    exit;
}
$member = current_member();
$e = static fn (string $text): string => htmlspecialchars($text, ENT_QUOTES);
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Club</title>
<?php if ($member === null) { ?>
<form method="post">
  <input type="hidden" name="csrf" value="<?= $e($_SESSION['csrf']) ?>">
  <label>Member <input name="member" autocomplete="username"></label>
  <label>Password <input name="password" type="password" autocomplete="current-password"></label>
  <button>Sign in</button>
</form>
<?php } else { ?>
<p>Hello, <?= $e($member['name']) ?>.</p>
<div id="talk" aria-live="polite" style="white-space: pre-wrap"></div>
<form id="ask" data-csrf="<?= $e($_SESSION['csrf']) ?>">
  <input name="question" aria-label="Question" autofocus>
  <button>Ask</button>
</form>
<script type="module">
const form = document.getElementById('ask');
const talk = document.getElementById('talk');
form.addEventListener('submit', async (submit) => {
  submit.preventDefault();
  const question = form.elements.question.value;
  form.reset();
  talk.append(`\n> ${question}\n`);
  const response = await fetch('chat.php', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': form.dataset.csrf },
    body: JSON.stringify({ question }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece; !(piece = await reader.read()).done;) talk.append(piece.value);
});
</script>
<?php } ?>
</html>
