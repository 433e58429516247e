"""What people write in five languages, sentence by sentence, and what it has to mean."""

import pytest

from outreach.vocabulary import Intent
from webhooks.intents import understand

SENTENCES: dict[Intent, dict[str, str]] = {
    Intent.SOLVED: {
        "en": """
            Thank you, that solved it.
            that fixed it, thanks
            It's working now, thank you!
            Works great now
            All is well now, thank you
            Problem is gone
            Yes thank you, everything is fine
            It is OK again
            Perfect, it works
            Sorted, thanks
            That did the trick
            It's all sorted now
            The new part works perfectly
            Thanks, it helped
            I got it working
            Resolved, thank you
            Done, works like a charm
            Yes, solved
        """,
        "es": """
            Gracias, eso lo solucionó
            Ya está solucionado, gracias
            Todo funciona bien ahora
            Problema resuelto
            Ya quedó
            Sí, ya funciona
            Perfecto, gracias, funciona
            Listo, gracias
            Se arregló
            Se solucionó el problema
            Ya me funciona bien
        """,
        "pt": """
            Obrigado, resolveu
            Isso resolveu o problema
            Já está tudo certo
            Está funcionando agora
            Deu certo, obrigada
            Problema resolvido
            Funcionou perfeitamente
            Agora está ok
            Já está a funcionar
        """,
        "fr": """
            Merci, cela a résolu le problème
            C'est résolu, merci
            Ça marche à nouveau
            Tout fonctionne maintenant
            Problème réglé
            Parfait, merci, ça fonctionne
            C'est bon maintenant
            Oui, c'est réglé
            Ça remarche
        """,
        "de": """
            Danke, das hat es gelöst
            Vielen Dank, jetzt geht es
            Es funktioniert jetzt wieder
            Problem gelöst
            Alles wieder in Ordnung
            Hat geklappt, danke
            Das hat geholfen
            Jetzt läuft es
            Passt jetzt
            Läuft wieder
        """,
    },
    Intent.STILL_BROKEN: {
        "en": """
            No, it is still broken.
            It still does not work
            Unfortunately nothing has changed
            The problem is back
            It's not working yet
            Still no luck
            it broke again
            I still have the same problem
            It didn't help
            that did not work
            It doesn't turn on
            The new one is broken too
            That didn't fix it
            not resolved yet
            The issue persists
            Same problem again
            It stopped working again
        """,
        "es": """
            Sigue sin funcionar
            Todavía no funciona
            No se ha solucionado
            El problema continúa
            Sigue fallando
            No me ha servido
            Aún tengo el mismo problema
            No funcionó
            Volvió a fallar
            Está igual
            Sigue roto
        """,
        "pt": """
            Ainda não funciona
            Continua com defeito
            Não resolveu
            O problema continua
            Não deu certo
            Não funcionou
            Voltou a dar problema
            Ainda está quebrado
            Continua igual
            Não está a funcionar
        """,
        "fr": """
            Ça ne marche toujours pas
            Le problème persiste
            Ce n'est pas réglé
            Toujours le même problème
            Ça n'a pas marché
            Rien n'a changé
            Encore en panne
            Ça ne fonctionne pas
            Le problème est revenu
        """,
        "de": """
            Es geht immer noch nicht
            Leider funktioniert es nicht
            Das Problem besteht weiterhin
            Hat nicht geholfen
            Ist noch nicht behoben
            Das hat nichts gebracht
            Wieder kaputt
            Es ist schon wieder defekt
            Hat nicht funktioniert
            Noch immer dasselbe Problem
        """,
    },
    Intent.NOT_ME: {
        "en": """
            I gave it away, this is not me any more.
            You have the wrong person
            I never bought this
            I don't own one
            I sold mine last year
            This isn't mine
            I returned it
            I don't have one
            We never ordered that
        """,
        "es": """
            No soy yo
            Se equivocaron de persona
            Yo no compré esto
            No tengo ese producto
            Lo vendí
            Lo devolví
            Número equivocado
        """,
        "pt": """
            Não sou eu
            Pessoa errada
            Eu não comprei isso
            Não tenho esse produto
            Vendi o meu
            Eu devolvi
        """,
        "fr": """
            Ce n'est pas moi
            Je n'ai pas acheté ça
            Vous vous trompez de personne
            Je ne l'ai plus
            Je l'ai vendu
            Je l'ai renvoyé
        """,
        "de": """
            Das bin ich nicht
            Ich habe das nie gekauft
            Falsche Person
            Ich habe so etwas nicht
            Das gehört mir nicht
            Ich habe es verkauft
            Habe ich zurückgeschickt
            Ich besitze das nicht mehr
        """,
    },
    Intent.ALREADY_FIXED: {
        "en": """
            I already fixed it myself
            Already replaced, thanks
            I have already received the new one
            It was already repaired last week
            I fixed it myself
            Already taken care of
        """,
        "es": """
            Ya lo arreglé yo mismo
            Ya lo cambié
            Ya me llegó el repuesto
            Ya recibí el nuevo
            Lo arreglé yo
        """,
        "pt": """
            Já consertei sozinho
            Já troquei
            Já recebi o novo
            Eu mesmo resolvi
        """,
        "fr": """
            Je l'ai déjà réparé
            Déjà remplacé
            J'ai déjà reçu le nouveau
            Je l'ai réparé moi-même
        """,
        "de": """
            Habe ich schon selbst repariert
            Schon ausgetauscht
            Ich habe schon Ersatz bekommen
            Bereits ersetzt
            Hab ich selbst gefixt
        """,
    },
    Intent.QUESTION: {
        "en": """
            Can I still use it tonight?
            When will the new one come
            Is my kettle affected?
            What do I have to do
            Do I need to send it back
            How long will it take?
            My order has a question
            Is it safe?
            Could you call me
            Please send me the manual
            I do not understand what is wrong
            Has it been fixed?
            Is it solved?
            When will it be fixed?
            Will it work again?
            Is this fixed now?
        """,
        "es": """
            ¿Puedo seguir usándolo?
            ¿Cuándo llega el repuesto?
            Qué tengo que hacer
            ¿Es seguro?
            ¿Ya está resuelto?
            ¿Cuándo estará solucionado?
            Quisiera saber el estado
        """,
        "pt": """
            Posso continuar usando?
            Quando chega?
            O que devo fazer
            É seguro?
            Já foi resolvido?
            Gostaria de saber mais
        """,
        "fr": """
            Puis-je encore l'utiliser ?
            Quand arrive la pièce ?
            Que dois-je faire
            Est-ce dangereux ?
            Est-ce que c'est résolu ?
            Je voudrais en savoir plus
        """,
        "de": """
            Kann ich es noch benutzen?
            Wann kommt das Ersatzteil?
            Was muss ich tun
            Ist das gefährlich?
            Ist das Problem behoben?
            Wann geht es wieder?
            Bitte rufen Sie mich an
        """,
    },
    Intent.STOP: {
        "en": """
            Please stop texting me
            I want to unsubscribe
            take me off your list
            no more messages please
        """,
        "es": """
            No me manden más mensajes
            Quiero darme de baja
        """,
        "pt": """
            Quero cancelar inscrição
            Parem de me enviar mensagens
        """,
        "fr": """
            Arrêtez de m'écrire
            Je veux me désabonner
        """,
        "de": """
            Bitte keine Nachrichten mehr
            Hören Sie auf mir zu schreiben
        """,
    },
    Intent.OUT_OF_OFFICE: {
        "en": """
            I am currently out of the office and will be back on Monday
        """,
        "es": """
            Estoy fuera de la oficina hasta el lunes
        """,
        "pt": """
            Estou de férias até segunda
        """,
        "fr": """
            Je suis en congé jusqu'à lundi
        """,
        "de": """
            Ich bin derzeit nicht im Büro
        """,
    },
}
CASES = [
    (language, intent, sentence.strip())
    for intent, languages in SENTENCES.items()
    for language, block in languages.items()
    for sentence in block.strip().splitlines()
]
# Good news must be certain: whoever is taken for helped hears no more.
NOT_GOOD_NEWS = """
    I don't know if it works
    Let me know once it works again
    I would like to know how it works
    Please make sure it works before you send it
    It works only sometimes
    It works but it leaks
    It was working great until you changed it
    Hopefully it works now
    When it works again I will buy another
    If that fixed it you would have heard from me
    I already received your message
    Ya recibí su correo
    Ich habe Ihre Nachricht schon erhalten
    Espero que funcione bien
    Funciona solo a veces
    Quando voltar a funcionar, avisem
    Não sei se resolveu
    J'espère que ça fonctionne
    Ça marche mais pas toujours
    Hoffentlich geht es wieder
    Es geht wieder, aber nur manchmal
    Wenn es wieder funktioniert, sagen Sie Bescheid
    Did that fix it?
    ¿Ya funciona?
""".strip().splitlines()


@pytest.mark.parametrize(("language", "intent", "sentence"), CASES)
def test_a_sentence_means_what_its_writer_meant(language: str, intent: Intent, sentence: str) -> None:
    found = understand(sentence)
    assert found.intent is intent, f"{language}: {found.matched}"


@pytest.mark.parametrize("sentence", [one.strip() for one in NOT_GOOD_NEWS])
def test_a_wish_a_condition_or_a_half_truth_is_no_good_news(sentence: str) -> None:
    found = understand(sentence)
    assert found.intent in (Intent.QUESTION, Intent.STILL_BROKEN), found.matched
    assert found.review or found.intent is Intent.STILL_BROKEN


@pytest.mark.parametrize(("language", "intent", "sentence"), CASES)
def test_no_harmless_sentence_stops_or_starts_anything(language: str, intent: Intent, sentence: str) -> None:
    for pending in (True, False):
        found = understand(f"Hello, {sentence} Kind regards, Ann", question_pending=pending)
        assert (found.intent is Intent.STOP) is (intent is Intent.STOP), (language, found.matched)
        assert found.intent is not Intent.START
