"""The words by which customers say what they mean, per language; tables only, `intents.py` reads them.

Every entry is written as the reader sees text: lower case, no accents, no punctuation, single spaces. Languages:
English, Spanish, Portuguese, French, German.
"""


def _table(block: str) -> tuple[str, ...]:
    """Return the entries of a block, parted by bars and line ends."""
    return tuple(entry.strip() for line in block.splitlines() for entry in line.split("|") if entry.strip())


# One of these alone is an order to stop. The first line is what US rules and Twilio name; the rest is how people
# write it. https://help.twilio.com/articles/223134027 and 47 CFR 64.1200(a)(10)
STOP_EXACT = frozenset(
    _table(
        """
        stop | stopall | stop all | unsubscribe | cancel | end | quit | revoke | optout | opt out
        stop it | stop now | stop please | please stop | stop this | stop messages | stop texting
        stop texting me | stop sms
        please unsubscribe | unsubscribe me | remove me | take me off | no more | no more messages
        leave me alone | stop stop
        stopp | arret | arreter | arretez | stop svp | desabonner | desinscription | desinscrire
        me desinscrire | desabonnement
        alto | parar | para | pare | detener | detente | basta | no mas | cancelar | baja | darme de baja
        dar de baja | salir
        sair | pare de enviar | cancelar inscricao | descadastrar | remover | chega | nao quero mais
        abmelden | abbestellen | austragen | aufhoren | aufhoeren | beenden | keine nachrichten mehr
        keine mails mehr
        """
    )
)

# A text that holds one of these phrases asks to stop, but a person should look.
STOP_PHRASES = _table(
    """
    stop texting | stop sending | stop messaging | stop emailing | stop calling | stop contacting
    stop writing | stop bothering
    stop these | stop this | stop the | stop all | stop it | stop now | stop please | please stop
    stop me | just stop | want to stop
    unsubscribe | opt out | opt me out | optout | opting out | revoke | remove me | take me off
    leave me alone | delete my number
    do not text | do not contact | do not email | do not message | do not write | do not call
    dont text | dont contact | dont email
    dont message | dont write | no more texts | no more emails | no more messages | quit texting
    quit sending | cancel messages
    cancel these | cancel all messages | cancel my subscription | end these messages | end this | stop
    no mas mensajes | no me escriban | no me escribas | no me envien | no me manden | no quiero recibir
    no quiero mas
    dejen de enviar | dejen de escribir | dejen de mandar | deja de enviar | deja de escribir
    deja de mandar | dejar de recibir | darme de baja | dar de baja | denme de baja | parar | paren
    no mas sms | no mas correos
    pare de enviar | pare de mandar | pare de me | parem de enviar | parem de mandar | parem de me
     nao me enviem | nao me mandem | nao quero receber | nao quero mais
    me tire da lista | me remova
    descadastrar | cancelar inscricao | cancelar suscripcion
    arretez de | arreter | arretez | ne m ecrivez plus | ne m envoyez plus | ne me contactez plus
    plus de messages | plus de sms
    desabonner | desabonnez | desinscrire | desinscrivez | me desinscrire
    abmelden | abbestellen | keine nachrichten mehr | keine sms mehr | keine mails mehr
    keine e mails mehr | nicht mehr schreiben
    schreiben sie mir nicht | hort auf | horen sie auf | austragen | aufhoren
    """
)

# "Do not stop" is the opposite of stopping: a question for a person, never an opt-out.
NOT_STOP = _table(
    """
    dont stop | do not stop | dont want you to stop | do not want you to stop | dont ever stop
     don t stop | never stop | wont stop | not stop | doesnt stop
    does not stop | doesn t stop | no stop
    cannot stop | can t stop | cant stop | dont unsubscribe | do not unsubscribe | don t unsubscribe
    dont cancel | do not cancel
    don t cancel | dont remove me | do not remove me | don t remove me | dont opt me out
    do not opt me out | dont opt out
    do not opt out | don t opt out | don t opt me out | why did you stop | have you stopped
    did you stop | dont end | do not end
    don t end | dont quit | do not quit | don t quit | not unsubscribe | not opt out | not cancel
    not revoke | not remove me
    no pares | no paren | no pare | no parar | no dejes de | no dejen de | no cancelar | no cancelen
    no canceles | no me den de baja
    nao pare | nao pares | nao parem | nao parar | nao cancelar | nao cancele | nao me remova
    nao me descadastre
    ne pas arreter | n arretez pas | n arrete pas | ne vous arretez pas | n arretez surtout pas
    pas stop | ne pas desabonner
    ne me desabonnez pas | ne me desinscrivez pas
    nicht aufhoren | nicht stoppen | nicht stopp | nicht stop | hort nicht auf | horen sie nicht auf
    nicht abmelden
    nicht abbestellen | nicht austragen | nicht beenden | kein stopp | kein stop
    """
)

START_EXACT = frozenset(
    _table(
        """
        start | unstop | yes | subscribe | resubscribe | opt in | optin | resume | iniciar | comenzar
        empezar | alta | comecar | reativar
        demarrer | commencer | reprendre | beginnen | starten | anmelden | wieder anmelden
        """
    )
)
# What these answer is known only where something was asked; "yes" without a question means "begin again".
YES_WORDS = frozenset({"yes", "yep", "yeah", "si", "sim", "oui", "ja"})
NO_WORDS = frozenset({"no", "nope", "nah", "nao", "non", "nein"})

# Where one of these stands beside "it works now", nobody should be too sure.
NEGATIONS = frozenset(
    _table(
        """
        not | no | never | nothing | isnt | wasnt | doesnt | didnt | hasnt | havent | dont | cant
        wont | neither
        nunca | nada | nao | nem | ne | pas | jamais | rien | nicht | nie | kein | keine | nichts
        until | unless
        """
    )
)

# Beside one of these, "it works" is a wish, a condition or a question.
DOUBTS = frozenset(
    _table(
        """
        if | when | whenever | once | whether | how | know | maybe | perhaps | hope | hopefully
        almost | partly | should
        would | could | wish | cuando | quizas | ojala | espero | casi | saber | quando | talvez
        quase | tomara
        quand | peut | espere | presque | savoir | comment | wenn | falls | ob | vielleicht | hoffe
        hoffentlich | fast
        teilweise | wissen | sobald
        but | only | sometimes | however | except | although | sure | please | need | want | can
        will | before | used
        pero | solo | veces | necesito | quiero | mas | mais | vezes | preciso | quero | favor
        seulement | parfois
        veux | besoin | svp | aber | nur | manchmal | bitte | brauche | mochte | bevor
        """
    )
)
# "I already received it" is about the product, unless it is about one of these.
MESSAGE_WORDS = frozenset(
    _table(
        """
        message | messages | email | emails | mail | mails | text | texts | sms | letter | postcard | notice
        mensaje | mensajes | correo | correos | aviso | carta | mensagem | mensagens | aviso
        courriel | courriels | lettre | avis | nachricht | nachrichten | brief | postkarte
        """
    )
)

HELP_EXACT = frozenset(
    _table(
        """
        help | info | help me | support | hilfe | aide | ayuda | ajuda | informacion | informacao
        informations
        """
    )
)

# The answers to "is it solved?": the digit of our own message, or words.
SOLVED_EXACT = frozenset(
    _table(
        """
        1 | 1 solved | solved | yes solved | its solved | it is solved | all good | works | it works
        works now | it works now | fixed | its fixed
        it is fixed | all fixed | resolved | works fine | ok now | good now | all good now | yes works
        yes it works | thanks it works
        solucionado | resuelto | ya funciona | funciona | si funciona | arreglado | todo bien
        resolvido | ja funciona | funcionou | esta funcionando | tudo certo | consertado
        resolu | ca marche | cela fonctionne | ca fonctionne | repare | c est regle | regle | tout est bon
        gelost | erledigt | funktioniert | es funktioniert | geht wieder | es geht wieder
        funktioniert wieder | behoben | alles gut
        sorted | sorted thanks | works great | working now | all sorted | thanks solved
        solved thanks | solved thank you
        fixed thanks | fixed thank you | it is working | its working | its working now | it is working now
        listo | listo gracias | ya quedo | quedo listo | todo funciona | ya esta | se arreglo | se soluciono
        deu certo | resolveu | funciona bem | tudo funciona | tudo ok | ja esta | ja esta a funcionar
        c est bon | c est regle merci | tout fonctionne | tout marche | ca remarche | probleme regle
        c est resolu
        passt | passt jetzt | klappt | klappt jetzt | lauft | lauft wieder | lauft jetzt | geht jetzt
        jetzt geht es
        alles ok | alles in ordnung
        """
    )
)
SOLVED_PHRASES = _table(
    """
    works now | working now | is solved | been solved | problem solved | issue solved | is resolved
    been resolved | is fixed now
    it works again | works again | works fine now | all good now | ya funciona | quedo resuelto
    esta resuelto | esta solucionado
    ja funciona | esta resolvido | foi resolvido | ca marche maintenant | est resolu | probleme resolu
    fonctionne a nouveau
    geht wieder | funktioniert wieder | funktioniert jetzt | ist gelost | ist behoben
    hat sich erledigt
    solved it | that solved | fixed it | that fixed | did the trick | it helped | that helped | really helped
    works perfectly | works perfect | works great | works well | works fine | works like
    works very well | it works
    is working now | is working again | it is working | its working | got it working | got it to work
    all is well | all is fine | all is good | everything is fine | everything is ok | everything is good
    everything works | all works | problem is gone | issue is gone | error is gone | problem has gone
    no longer a problem
    ok again | fine again | good again | all sorted | sorted now | sorted thanks | sorted thank you
    resolved thanks
    resolved thank you | solved thanks | solved thank you | fixed thanks | fixed thank you
    is sorted | been sorted
    yes solved | yes fixed | yes resolved | yes it works
    lo soluciono | lo resolvio | lo arreglo | se soluciono | se arreglo | se resolvio | todo funciona
    funciona bien
    funciona perfecto | funciona perfectamente | me funciona | gracias funciona | perfecto funciona
    ahora funciona
    problema resuelto | problema solucionado | ya quedo | me sirvio | ya esta todo bien | todo esta bien
    funciono perfectamente | funciona de nuevo | vuelve a funcionar | volvio a funcionar
    resolveu | tudo certo | deu certo | problema resolvido | funcionou | esta funcionando | esta a funcionar
    agora esta ok | agora funciona | funciona bem | voltou a funcionar | tudo ok agora | esta tudo bem | ajudou
    a resolu | a regle | probleme regle | est regle | est repare | marche a nouveau | remarche | tout fonctionne
    tout marche | ca fonctionne | fonctionne maintenant | fonctionne bien | fonctionne parfaitement
    marche bien
    c est bon maintenant | c est bon merci | rentre dans l ordre | m a aide | marche tres bien
    hat es gelost | hat das problem gelost | problem gelost | problem ist gelost | problem behoben
    jetzt geht es
    geht es wieder | geht jetzt | jetzt geht | wieder in ordnung | hat geklappt | klappt jetzt | klappt wieder
    hat geholfen | lauft wieder | lauft jetzt | jetzt lauft | passt jetzt | passt wieder | jetzt passt
    funktioniert einwandfrei | funktioniert prima | funktioniert super | funktioniert bestens
    jetzt funktioniert
    alles wieder gut | alles gut jetzt | jetzt ist alles gut | alles bestens | hat funktioniert
    """
)

STILL_BROKEN_EXACT = frozenset(
    _table(
        """
        2 | 2 still broken | still broken | not solved | not fixed | broken | no still broken | no luck
        doesnt work | does not work
        doesn t work | not working | still not working | sigue igual | no funciona | sigue roto
        todavia no | aun no | sin solucion
        nao funciona | ainda nao | continua quebrado | nao resolvido | toujours en panne | ne marche pas
        ca ne marche pas
        pas resolu | non resolu | geht nicht | funktioniert nicht | immer noch kaputt | noch kaputt
        nicht gelost
        sigue fallando | esta igual | no sirve | no funciono | no ha funcionado
        nao funcionou | nao resolveu | nao deu certo | continua igual | continua na mesma
        ca marche pas | marche pas | toujours pareil | encore en panne | rien n a change | pas regle
        wieder kaputt | geht immer noch nicht | funktioniert immer noch nicht | hat nicht geholfen | lauft nicht
        immer noch defekt
        """
    )
)
STILL_BROKEN_PHRASES = _table(
    """
    not been solved | not been fixed | not been resolved | nao esta resolvido | no quedo resuelto
    still broken | still not | still doesnt | still does not | still doesn t | still the same
    still happening | still have the
    still having | not solved | not fixed | not resolved | isnt fixed | isn t fixed | isnt solved
    isn t solved | does not work
    doesnt work | doesn t work | not working | broken again | happened again | happens again
    never arrived | no luck
    hasnt been fixed | hasn t been fixed | wasnt fixed | wasn t fixed
    sigue sin | sigue igual | sigue roto | sigue fallando | no funciona | no esta resuelto | todavia no
    aun no | no se ha resuelto
    nao funciona | ainda nao | continua quebrado | continua com | nao foi resolvido
    nao esta funcionando
    toujours pas | toujours en panne | ne marche pas | ne fonctionne pas | ne marche toujours pas
    n est pas resolu | pas encore resolu
    immer noch | geht nicht | geht immer noch nicht | funktioniert nicht | funktioniert immer noch
    noch nicht | nicht gelost
    nicht behoben | weiterhin kaputt
    nothing has changed | nothing changed | nothing helped | no change | no improvement
    problem is back | issue is back
    problem came back | issue came back | came back again | broke again | broke down again
    failed again | fails again
    is broken too | broken too | also broken | is also broken | still no | still a problem
    still have a problem
    did not help | didnt help | did not work | didnt work | does not turn on | doesnt turn on | wont turn on
    did not fix | didnt fix | did not solve | didnt solve | has not solved | hasnt solved | persists
    same problem
    same issue | same error | same fault | stopped working | keeps failing | keeps happening | keeps breaking
    isnt working | is not working | wont work | will not work | not fixed yet | not resolved yet
    got worse | even worse
    cannot get it to work | cant get it to work | isnt resolved | hasnt been solved
    hasnt been resolved | no better
    no se ha solucionado | no se soluciono | no se arreglo | no lo soluciono | problema continua
    problema persiste
    sigue el problema | sigue con el | sigue pasando | no me ha servido | no me sirvio | no sirve
    mismo problema
    no funciono | no ha funcionado | volvio a fallar | vuelve a fallar | esta igual | sigue mal | no ha cambiado
    nada ha cambiado | otra vez roto | se volvio a romper | no esta solucionado | no esta arreglado
    nao resolveu | nao resolvido | problema continua | problema persiste | continua igual | continua na mesma
    continua sem | nao deu certo | nao funcionou | voltou a dar | voltou a falhar | voltou o problema
    ainda esta
    ainda tenho | ainda com | mesmo problema | nao esta a funcionar | nada mudou | nao ajudou | nao adiantou
    continua a falhar | quebrou de novo | esta igual
    le probleme persiste | probleme persiste | pas regle | meme probleme | n a pas marche | n a pas fonctionne
    rien n a change | encore en panne | encore casse | probleme est revenu | revenu le probleme | marche pas
    fonctionne pas | pas repare | n a pas aide | n a rien change | ne s allume | a nouveau en panne
    de nouveau en panne
    ne m a pas aide | n a pas resolu | pas encore regle
    funktioniert es nicht | funktioniert leider nicht | geht leider nicht | geht es nicht | geht das nicht
    besteht weiterhin | besteht weiter | problem besteht | nicht geholfen | nichts gebracht | wieder kaputt
    wieder defekt | auch kaputt | auch defekt | nicht funktioniert | dasselbe problem | gleiche problem
    selbe problem | noch immer | nach wie vor | nichts geandert | nicht geklappt | klappt nicht | lauft nicht
    nicht repariert | problem ist zuruck | noch kaputt | noch defekt
    """
)

NOT_ME_PHRASES = _table(
    """
    wrong number | wrong person | wrong address | not me | isnt me | isn t me | is not mine | not mine
    dont own | do not own | don t own
    never bought | never ordered | didnt buy | did not buy | didn t buy | didnt order | did not order
    didn t order | not my order
    dont have this | do not have this | don t have this | dont have one | do not have one
    don t have one | not a customer
    who is this | sold it | gave it away | moved out | no longer own | i am not | i m not the
    numero equivocado | persona equivocada | no soy | no es mio | no lo tengo | nunca compre | no compre
    no tengo este
    numero errado | pessoa errada | nao sou | nao e meu | nao comprei | nunca comprei | nao tenho
    mauvais numero | mauvaise personne | ce n est pas moi | pas moi | je n ai pas commande
    je n ai jamais achete | erreur de personne
    falsche nummer | falsche person | bin ich nicht | gehort mir nicht | habe ich nicht | nie gekauft
    nie bestellt
    nicht bestellt | nicht gekauft
    sold mine | i sold | gave mine | isnt mine | not for me | i returned it | returned mine | i sent it back
    not my product | never owned | never had one | i dont use | mistaken identity | no such order
    se equivocaron de persona | se equivoca de persona | persona incorrecta | lo vendi | la vendi | lo devolvi
    la devolvi | ya no lo tengo | ya no la tengo | lo regale | la regale | no tengo ese producto
    no tengo este producto | no tengo ninguno | no es para mi | yo no pedi | nunca pedi
    vendi o meu | vendi a minha | eu vendi | eu devolvi | devolvi o | ja nao tenho | dei de presente
    numero incorreto | nao e para mim | nunca encomendei | nunca pedi
    pas achete | pas commande cela | trompez de personne | vous vous trompez | ne l ai plus
    l ai vendu | l ai renvoye
    l ai rendu | l ai donne | ne possede pas | ne possede plus | n est pas a moi | pas pour moi
    habe so etwas nicht | habe sowas nicht | habe es verkauft | habe ihn verkauft | habe sie verkauft
    zuruckgeschickt | zuruckgegeben | besitze das nicht | besitze ich nicht | besitze ihn nicht
    besitze es nicht
    nicht mehr im besitz | verschenkt | falscher empfanger | nicht fur mich | habe keinen davon
    """
)

ALREADY_FIXED_PHRASES = _table(
    """
    already fixed | already solved | already resolved | already sorted | already done | already replaced
    already received
    already refunded | already working | fixed it myself | fixed that myself | sorted it myself
    was fixed last | was already
    ya lo arregle | ya esta arreglado | ya esta resuelto | ya se soluciono | ya lo solucione
    ya lo cambie
    ja resolvi | ja foi resolvido | ja esta resolvido | ja consertei | ja troquei
    deja regle | deja resolu | deja repare | deja remplace | deja fait
    schon erledigt | schon behoben | bereits erledigt | bereits behoben | bereits gelost | schon gelost
    schon repariert
    selbst behoben | selbst repariert
    already taken care | already repaired | already exchanged | already swapped | already got the new
    repaired it myself
    solved it myself | replaced it myself
    ya me llego | ya recibi | lo arregle yo | yo mismo lo arregle | yo misma lo arregle | ya lo reemplace
    ya me lo cambiaron
    ja recebi | eu mesmo resolvi | eu mesma resolvi | eu mesmo consertei | eu mesma consertei | ja substitui
    ja arranjei | ja reparei
    deja recu | repare moi meme | l ai repare | regle moi meme | deja change | deja echange
    schon ausgetauscht | bereits ausgetauscht | schon ersatz | bereits ersatz | schon ersetzt | bereits ersetzt
    selbst gefixt | selbst gelost | selbst gemacht | schon umgetauscht | bereits umgetauscht | bereits repariert
    """
)

OUT_OF_OFFICE_PHRASES = _table(
    """
    out of office | out of the office | automatic reply | auto reply | autoreply | automated response
    on vacation | on holiday
    annual leave | parental leave | maternity leave | limited access to email | will be back on
    away from my desk
    currently away | i am away until | im away until | i will return on | return to the office
    fuera de la oficina | respuesta automatica | de vacaciones | estare de vuelta
    ausente de la oficina
    fora do escritorio | resposta automatica | de ferias | estarei ausente | ausente do escritorio
    absent du bureau | reponse automatique | en vacances | en conge | je suis absent
    actuellement absent | de retour le
    nicht im buro | abwesenheitsnotiz | automatische antwort | im urlaub | bin abwesend | abwesend bis
    wieder erreichbar
    ausser haus | nicht am arbeitsplatz | elternzeit
    """
)

# Only for people who open with one; most questions are found by their question mark.
QUESTION_WORDS = frozenset(
    _table(
        """
        what | when | where | why | who | how | which | can | could | do | does | is | are | will | would
        should | que | cuando | donde | porque | quien | como
        cual | puede | pueden | o que | quando | onde | quem | qual | pode | podem | quoi | quand | ou
        pourquoi | qui | comment | quel | quelle | est
        pouvez | was | wann | wo | warum | wer | wie | welche | konnen | kann | ist | wird
        """
    )
)
